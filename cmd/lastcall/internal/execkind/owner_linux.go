package execkind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
)

// giveTo gives the directory to the user of the program, nil for the server's own. No process of
// the program runs yet.
func (s *scratch) giveTo(u *confine.User) error {
	if u == nil {
		return nil
	}
	err := s.folder.giveTo(u, tmpName, payloadName, checkpointName)
	if err != nil {
		return fmt.Errorf("directory of the run: %w: a server that is root needs CAP_CHOWN for programs of other users", err)
	}
	return reachable(filepath.Dir(s.dir), u)
}

// giveTo gives the directory to a user, and those of the names in it that exist. Files that are
// written into it later will belong to that user too.
func (d *folder) giveTo(u *confine.User, names ...string) error {
	for _, name := range names {
		err := unix.Fchownat(int(d.Fd()), name, int(u.UID), int(u.GID), unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	if err := d.Chown(int(u.UID), int(u.GID)); err != nil {
		return err
	}
	d.owner, d.user = u.UID, u
	return nil
}

// own gives a new file to the user, if there is one.
func (d *folder) own(f *os.File) error {
	if d.user == nil {
		return nil
	}
	return f.Chown(int(d.user.UID), int(d.user.GID))
}

// reachable returns an error that names the directory which keeps a user from reaching another one.
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
