package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"github.com/lastcall-go/lastcall/task"
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

// openedFile is a file of an open database: what stands at its path must be the file that was
// opened.
type openedFile struct {
	what, path string
	info       os.FileInfo
}

// remember takes note of the files that are open now: the database, also by the name that it was
// opened by, its log, and the index of that. SQLite keeps the latter two for as long as it is open.
func (s *Store) remember(named string) error {
	files := []openedFile{{what: "the file", path: s.path}, {what: "its log, with -wal after the name,", path: s.path + "-wal"},
		{what: "the index of its log, with -shm after the name,", path: s.path + "-shm"}}
	if named != s.path {
		files = append(files, openedFile{what: "the file " + named, path: named})
	}
	for i := range files {
		info, err := os.Stat(files[i].path)
		if err != nil {
			return err
		}
		files[i].info = info
	}
	s.file, s.files = files[0].info, files
	return nil
}

// checkFile refuses to go on when a file is no longer the one that was opened: what is written to a
// file that was removed is lost when the process ends.
func (s *Store) checkFile() error {
	if err := s.strayed(); err != nil {
		return fmt.Errorf("sqlitestore: %s: %w", s.path, err)
	}
	return nil
}

// strayed is checkFile for who names the store.
func (s *Store) strayed() error {
	for _, f := range s.files {
		info, err := os.Stat(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("%s was removed while it was open", f.what)
		case err != nil:
		case os.SameFile(info, f.info):
			continue
		default:
			err = fmt.Errorf("%s was replaced by another one while it was open", f.what)
		}
		return fmt.Errorf("%w: stop all servers on it, put the right file there and start them again", err)
	}
	return nil
}

// keepLog leaves the log alone that stands beside the file: when the last connection to a file that
// was replaced is closed, SQLite would remove the log of the file that has taken its place.
func keepLog(conn *sql.Conn) error {
	return conn.Raw(func(c any) error {
		_, err := c.(sqlite.FileControl).FileControlPersistWAL("main", 1)
		return err
	})
}

// CheckProcesses reports, as an error, that a process holds the lock of a worker which the file
// does not know: it has another file open, that once had this one's name, and whatever it is told
// is lost.
func (s *Store) CheckProcesses(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	for _, worker := range s.locks.names() {
		if s.locks.life(worker, s.locks.boot) != task.LivenessAlive {
			continue
		}
		registered := true
		if err := one(ctx, s.reader, "IsRegistered", []any{worker}, &registered); err != nil {
			return s.wrap(ctx, err)
		}
		if !registered {
			return fmt.Errorf("sqlitestore: %s: %s, which the file does not know: %s", s.path, s.locks.holder(worker), strays)
		}
	}
	return nil
}

// strays is what to do about processes that have a former file open.
const strays = "it has a file open that was removed or replaced. Stop it first; what it was told since then is lost"

// holder names what holds a worker's lock.
func (d *lockDir) holder(worker string) string {
	return fmt.Sprintf("a process holds the lock of worker %s (find it with fuser -v %s)", worker, d.path(worker))
}

// lockHeld returns a worker whose process lives, if the directory beside the file has one. It is
// asked before the file is looked for: a file is made before its workers' locks.
func (d *lockDir) lockHeld() string {
	for _, worker := range d.names() {
		if d.life(worker, d.boot) == task.LivenessAlive {
			return worker
		}
	}
	return ""
}
