package sqlitestore

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// bootID returns the name of the present boot of the machine. It is the same in all containers on
// it.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// refuseNetwork refuses a directory on a network file system.
func refuseNetwork(dir string) error { return refuseBy(syscall.Statfs, dir) }

func refuseBy(statfs func(string, *syscall.Statfs_t) error, dir string) error {
	var st syscall.Statfs_t
	if err := statfs(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	// The numbers are those of linux/magic.h.
	names := map[uint32]string{0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB2"}
	if name, ok := names[uint32(st.Type)]; ok {
		return fmt.Errorf("%s is on %s, a network file system, where SQLite loses data: use a local disk", dir, name)
	}
	return nil
}
