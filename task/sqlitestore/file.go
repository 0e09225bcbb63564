package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// realPath returns the absolute path of a file, without symbolic links: the lock directory is
// beside the file, whatever it is called. The file need not exist.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	const maxLinks = 40 // as Linux has it
	for range maxLinks {
		real, err := filepath.EvalSymlinks(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return real, err
		}
		target, err := os.Readlink(path)
		switch {
		case err != nil: // it is no link
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			return filepath.Join(dir, filepath.Base(path)), err
		case !filepath.IsAbs(target):
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s has too many levels of symbolic links", path)
}

// checkPlace gives a better error than SQLite's "unable to open database file".
func checkPlace(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist: make it, or name another file", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory: name a file in it, as in %s", path, filepath.Join(path, "tasks.db"))
	}
	return refuseNetwork(dir)
}

// dsn is the address of the file, with what every connection needs. The log is cut to 16 MiB after
// a long reader had it grow.
func dsn(path, more string) string {
	return address(path) + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=journal_size_limit(16777216)&_pragma=synchronous(FULL)&" + more
}

// address is the file as SQLite is told of it.
func address(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	return "file:" + u.EscapedPath()
}

// checkFile refuses to go on when the file is no longer the one that was opened: what is written to
// a file that was removed is lost when the process ends.
func (s *Store) checkFile() error {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("the file was removed while it was open")
	case err != nil:
	case os.SameFile(info, s.file):
		return nil
	default:
		err = errors.New("the file was replaced by another one while it was open")
	}
	return fmt.Errorf("sqlitestore: %s: %w: stop all servers on it, put the right file there and start them again", s.path, err)
}
