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

// realPath returns the absolute path of a file, without symbolic links: the lock directory is next
// to the real file, whatever link was named. The file need not exist.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	const maxLinks = 40 // the limit of Linux
	for range maxLinks {
		real, err := filepath.EvalSymlinks(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return real, err
		}
		target, err := os.Readlink(path)
		switch {
		case err != nil: // path is not a link
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

// dsn returns the address of the file, with the settings that every connection needs. The log is
// truncated to 16 MiB after a long reader has made it grow.
func dsn(path, more string) string {
	return address(path) + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=journal_size_limit(16777216)&_pragma=synchronous(FULL)&" + more
}

// address returns the address of the file for SQLite.
func address(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	return "file:" + u.EscapedPath()
}

// openedFile is a file of an open database: the file at its path must still be the one that was
// opened.
type openedFile struct {
	what, path string
	info       os.FileInfo
}

// remember records the files that are open now: the database, also under the name by which it was
// opened, its log, and the index of the log. SQLite keeps the last two as long as it is open.
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

// checkFile returns an error when a file is no longer the one that was opened: what is written to a
// file that was removed is lost when the process ends.
func (s *Store) checkFile() error {
	if err := s.strayed(); err != nil {
		return fmt.Errorf("sqlitestore: %s: %w", s.path, err)
	}
	return nil
}

// strayed is checkFile without the store's name in the error.
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

// keepLog has SQLite leave the log next to the file in place when the last connection is closed.
// Otherwise, if the file was replaced, SQLite would remove the log of the new file.
func keepLog(conn *sql.Conn) error {
	return conn.Raw(func(c any) error {
		_, err := c.(sqlite.FileControl).FileControlPersistWAL("main", 1)
		return err
	})
}

// CheckProcesses returns an error if a process holds the lock of a worker which is not in the file.
// That process has another file open that once had the name of this one, and whatever it accepts is
// lost.
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

// strays says what to do about processes that have a former file open.
const strays = "it has a file open that was removed or replaced. Stop it first; what it has accepted since then is lost"

// holder describes the process that holds a worker's lock.
func (d *lockDir) holder(worker string) string {
	return fmt.Sprintf("a process holds the lock of worker %s (find it with fuser -v %s)", worker, d.path(worker))
}

// lockHeld returns a worker whose process lives, if the directory next to the file has one. It is
// called before the file is looked for: a file is created before the locks of its workers.
func (d *lockDir) lockHeld() string {
	for _, worker := range d.names() {
		if d.life(worker, d.boot) == task.LivenessAlive {
			return worker
		}
	}
	return ""
}
