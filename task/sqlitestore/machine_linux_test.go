package sqlitestore

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// of returns a statfs that finds a file system with that number of linux/magic.h.
func of(magic uint32) func(string, *syscall.Statfs_t) error {
	return func(_ string, st *syscall.Statfs_t) error {
		fill(&st.Type, magic)
		return nil
	}
}

// fill writes a number into a field whose type depends on the machine: where it has 32 bits and a
// sign the numbers of CIFS and SMB2 are negative.
func fill[T int32 | int64 | uint32](field *T, magic uint32) { *field = T(magic) }

func TestFileSystem_NetworkFileSystemsAreRefusedByName(t *testing.T) {
	for name, magic := range map[string]uint32{"NFS": 0x6969, "SMB": 0x517b, "CIFS": 0xff534d42, "SMB2": 0xfe534d42} {
		err := refuseBy(of(magic), "/srv/tasks")
		if err == nil || !strings.HasPrefix(err.Error(), "/srv/tasks is on "+name+", ") || !strings.HasSuffix(err.Error(), "use a local disk") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileSystem_LocalFileSystemsAreAccepted(t *testing.T) {
	for name, magic := range map[string]uint32{
		"ext4": 0xef53, "xfs": 0x58465342, "btrfs": 0x9123683e, "tmpfs": 0x01021994, "overlay": 0x794c7630, "zfs": 0x2fc12fc1,
	} {
		if err := refuseBy(of(magic), "/srv/tasks"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkPlace(t.TempDir() + "/tasks.db"); err != nil {
		t.Errorf("a directory of this machine: %v", err)
	}
}

func TestFileSystem_ThatCannotBeAskedIsAnErrorThatNamesTheDirectory(t *testing.T) {
	err := refuseBy(func(string, *syscall.Statfs_t) error { return syscall.EIO }, "/srv/tasks")
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "/srv/tasks") {
		t.Errorf("%v", err)
	}
}
