package execkind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
)

// giveTo hands the directory to the user of the program, nil for the server's own. Nothing of the
// program runs yet.
func (s *scratch) giveTo(u *confine.User) error {
	if u == nil {
		return nil
	}
	s.user = u
	names := []string{s.tmp(), s.payload()}
	if _, err := os.Lstat(s.checkpoint()); err == nil {
		names = append(names, s.checkpoint())
	}
	for _, name := range append(names, s.dir) {
		if err := s.own(name); err != nil {
			return fmt.Errorf("directory of the run: %w: a server that is root needs CAP_CHOWN for programs of other users", err)
		}
	}
	return reachable(filepath.Dir(s.dir), u)
}

// own hands a file of the directory to the program's user.
func (s *scratch) own(name string) error {
	if s.user == nil {
		return nil
	}
	return os.Lchown(name, int(s.user.UID), int(s.user.GID))
}

// reachable says which directory keeps a user from reaching one.
func reachable(dir string, u *confine.User) error {
	dir, err := filepath.EvalSymlinks(dir)
	for ; err == nil; dir = filepath.Dir(dir) {
		var info os.FileInfo
		if info, err = os.Stat(dir); err != nil {
			break
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if ok && !u.CanEnter(info.Mode(), owner.Uid, owner.Gid) {
			return fmt.Errorf("user %d cannot reach its run's directory, since it may not enter %s: name another temporary directory in TMPDIR", u.UID, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
	return errors.Join(errors.New("directory of the run"), err)
}
