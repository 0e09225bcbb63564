package execkind

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// leastBytes is how much each name counts at least: a million empty files need space, too.
const leastBytes = 1 << 10

// usage adds up the disk space of a directory with everything below it. It counts blocks, so holes
// in a file are free, and it counts a file with two names once. It stops beyond limit. It measures
// no mounts below the directory and follows no links. A file that disappears meanwhile is no error.
func (d *folder) usage(limit int64) (total int64, err error) {
	type file struct{ dev, ino uint64 }
	linked := make(map[file]bool) // files with more than one name that were counted
	for dirs := []string{""}; len(dirs) > 0 && total <= limit; {
		last := len(dirs) - 1
		path := dirs[last]
		dirs = dirs[:last]
		err := d.list(path, func(name string, st *unix.Stat_t) bool {
			f := file{st.Dev, st.Ino}
			switch {
			case st.Mode&unix.S_IFMT == unix.S_IFDIR:
				dirs = append(dirs, path+name+"/")
			case st.Nlink > 1 && linked[f]:
				return true
			case st.Nlink > 1:
				linked[f] = true
			}
			total += max(st.Blocks*512, leastBytes)
			return total <= limit
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// list calls use for each name in a directory, until use returns false. A path that is "" or ends
// in a slash names the directory.
func (d *folder) list(path string, use func(name string, st *unix.Stat_t) bool) error {
	dir, err := openAt(d.File, path+".", openDir, 0)
	if errors.Is(err, unix.EACCES) && path != "" && unlock(d.File, path[:len(path)-1]) == nil {
		dir, err = openAt(d.File, path+".", openDir, 0)
	}
	switch {
	case errors.Is(err, unix.ENAMETOOLONG):
		return errTooDeep
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		return nil // gone, replaced, or a mount
	case err != nil:
		return fmt.Errorf("what is in TMPDIR: %w", err)
	}
	defer dir.Close() // only read
	for {
		names, end := dir.Readdirnames(1024)
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && !use(name, &st) {
				return nil
			}
		}
		if errors.Is(end, io.EOF) || errors.Is(end, os.ErrNotExist) {
			return nil
		}
		if end != nil {
			return fmt.Errorf("what is in TMPDIR: %w", end)
		}
	}
}
