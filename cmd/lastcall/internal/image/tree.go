package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/lastcall-go/lastcall/rehearse"
)

// tree is the directory into which layers are unpacked. Links are followed as the image's program
// will follow them: an absolute one begins at the tree's root, and nothing is above the root.
type tree struct {
	root  *os.Root
	files int             // how many more files are allowed
	bytes int64           // and how many more bytes
	names int             // and how many more bytes of paths
	fresh map[string]bool // where the present layer has put something

	asked, resolved string // the last directory that was resolved
	block, zeros    []byte // for the content of one file after another
}

func newTree(root *os.Root) *tree {
	const block = 64 << 10
	return &tree{
		root: root, files: maxFiles, bytes: maxBytes, names: maxNames, fresh: map[string]bool{}, resolved: ".",
		block: make([]byte, block), zeros: make([]byte, block),
	}
}

var errLinks = errors.New("too many links behind each other")

// resolve follows the links in the path of a directory. If create is set, it creates missing
// directories. It remembers the last path that it resolved: a caller that changes a directory or a
// link calls forget.
func (t *tree) resolve(dir string, create bool) (string, error) {
	if dir == t.asked {
		return t.resolved, nil
	}
	var done []string
	links := 0
	for todo := strings.Split(dir, "/"); len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			done = done[:max(0, len(done)-1)]
			continue
		}
		at := path.Join(path.Join(done...), name)
		if len(done) >= maxDepth {
			return "", fmt.Errorf("%q is more than %d directories deep", shown(dir), maxDepth)
		}
		info, err := t.root.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && create:
			if err := t.mkdir(at); err != nil {
				return "", err
			}
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > 40 {
				return "", fmt.Errorf("%q: %w", shown(dir), errLinks)
			}
			target, err := t.root.Readlink(at)
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(target, "/") {
				done = nil
			}
			todo = append(strings.Split(target, "/"), todo...)
			continue
		case !info.IsDir():
			return "", &fs.PathError{Op: "open", Path: shown(at), Err: errors.New("it is no directory")}
		}
		done = append(done, name)
	}
	t.asked, t.resolved = dir, path.Join(append([]string{"."}, done...)...)
	return t.resolved, nil
}

// forget discards the remembered path, since a directory or a link has changed.
func (t *tree) forget() { t.asked, t.resolved = "", "." }

// mkdir creates a directory that has no entry of its own.
func (t *tree) mkdir(at string) error {
	if err := t.count(); err != nil {
		return err
	}
	if err := t.root.Mkdir(at, 0o755); err != nil {
		return err
	}
	if err := t.remember(at); err != nil {
		return err
	}
	return t.own(at, 0, 0)
}

// own gives a file the user and group that it has in the image.
func (t *tree) own(at string, user, group int) error {
	u, ok := rehearse.ImageOwner(user)
	if !ok {
		return nil
	}
	g, _ := rehearse.ImageOwner(group)
	return t.root.Lchown(at, u, g)
}

// count counts a file.
func (t *tree) count() error {
	if t.files--; t.files < 0 {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	return nil
}

// remember records that the present layer has put something at a path.
func (t *tree) remember(at string) error {
	if t.names -= len(at); t.names < 0 {
		return fmt.Errorf("the paths of its files have more than %d MiB", maxNames>>20)
	}
	t.fresh[at] = true
	return nil
}

// read returns the content of a file of the image, to which links may lead. It returns "" if there
// is no such file.
func (t *tree) read(name string) (string, error) {
	for range 40 {
		dir, err := t.resolve(path.Dir(name), false)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		at := path.Join(dir, path.Base(name))
		info, err := t.root.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", nil
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := t.root.Readlink(at)
			if err != nil {
				return "", err
			}
			if name = target; !path.IsAbs(target) {
				name = path.Join("/", dir, target)
			}
			continue
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("%s is no file", name)
		}
		f, err := t.root.Open(at)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxText))
		return string(b), err
	}
	return "", fmt.Errorf("%s: %w", name, errLinks)
}

// shown shortens a name for a message.
func shown(name string) string {
	if len(name) > 100 {
		return name[:100] + "..."
	}
	return name
}
