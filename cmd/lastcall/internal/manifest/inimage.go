package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Bounds on what is copied into an image.
const (
	maxFiles = 100_000
	maxBytes = 1 << 30
)

// enterImage gives a program its image, with the user and the directory of the manifest, and copies
// the files of its volumes into the image.
func (p *Plan) enterImage(program *rehearse.Container) error {
	image := p.given.Image
	if image == nil {
		return nil
	}
	if len(program.Command) == 0 {
		return errors.New("neither the image nor the manifest says what is run: give the command behind --")
	}
	in := &rehearse.Image{Name: image.Name, Root: image.Root, User: image.User, Group: image.Group, Groups: image.Groups, Env: image.Env}
	p.runAs(in)
	program.Image, program.Dir = in, p.container.WorkingDir
	root, err := os.OpenRoot(image.Root)
	if err != nil {
		return fmt.Errorf("put the files of the manifest into the image: %w", err)
	}
	defer root.Close()
	// Sorted, so that a mount below another mount comes after it.
	for _, target := range slices.Sorted(maps.Keys(p.paths)) {
		if err := p.place(root, target, p.paths[target], in); err != nil {
			return fmt.Errorf("put %s into the image: %w", target, err)
		}
	}
	return nil
}

// runAs sets the user and the groups of the manifest.
func (p *Plan) runAs(in *rehearse.Image) {
	var user, group *int64
	if pod := p.workload.Pod.SecurityContext; pod != nil {
		user, group = pod.RunAsUser, pod.RunAsGroup
		for _, one := range pod.SupplementalGroups {
			in.Groups = append(slices.Clone(in.Groups), int(one))
		}
		if pod.FSGroup != nil {
			in.Groups = append(slices.Clone(in.Groups), int(*pod.FSGroup))
		}
	}
	if own := p.container.SecurityContext; own != nil {
		if own.RunAsUser != nil {
			user = own.RunAsUser
		}
		if own.RunAsGroup != nil {
			group = own.RunAsGroup
		}
	}
	if user != nil && int(*user) != in.User {
		in.User, in.Group = int(*user), 0
	}
	if group != nil {
		in.Group = int(*group)
	}
}

// place copies a file or a directory of this machine to a path of the image, and replaces what is
// there.
func (p *Plan) place(root *os.Root, target, local string, owner *rehearse.Image) error {
	at, err := inside(root, target)
	if err != nil {
		return err
	}
	if at == "." {
		return errors.New("a volume cannot take the place of the whole image")
	}
	if err := errors.Join(root.RemoveAll(at), root.MkdirAll(path.Dir(at), 0o755)); err != nil {
		return err
	}
	return filepath.WalkDir(local, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p.copied++; p.copied > maxFiles {
			return fmt.Errorf("there are more than %d files in the volumes", maxFiles)
		}
		below, err := filepath.Rel(local, name)
		if err != nil {
			return err
		}
		to := path.Join(at, filepath.ToSlash(below))
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			err = root.MkdirAll(to, info.Mode().Perm())
		case info.Mode().IsRegular():
			if p.bytes += info.Size(); p.bytes > maxBytes {
				return fmt.Errorf("there is more than %d MiB in the volumes", maxBytes>>20)
			}
			var content []byte
			if content, err = os.ReadFile(name); err == nil {
				err = root.WriteFile(to, content, info.Mode().Perm())
			}
		default:
			return nil // a socket or a device
		}
		user, ok := rehearse.ImageOwner(owner.User)
		group, known := rehearse.ImageOwner(owner.Group)
		if err == nil && ok && known {
			err = root.Lchown(to, user, group)
		}
		return err
	})
}

// inside resolves the symbolic links of a path of the image, relative to its root. A part that does
// not exist yet has none.
func inside(root *os.Root, target string) (string, error) {
	const mostLinks = 40
	rest, at, links := strings.Split(strings.Trim(path.Clean(target), "/"), "/"), ".", 0
	for len(rest) > 0 {
		step := rest[0]
		rest = rest[1:]
		if step == ".." {
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, step)
		info, err := root.Lstat(next)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			at = next
			continue
		}
		if links++; links > mostLinks {
			return "", fmt.Errorf("%s has too many symbolic links", target)
		}
		link, err := root.Readlink(next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(link) {
			at = "."
		}
		rest = append(strings.Split(strings.Trim(path.Clean(link), "/"), "/"), rest...)
	}
	return at, nil
}
