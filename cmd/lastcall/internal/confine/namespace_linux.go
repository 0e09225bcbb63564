package confine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Possible returns the isolation that this process can try. Whether the system allows it is known
// only after trying.
func Possible() Isolation {
	if os.Geteuid() == 0 {
		return Namespaced
	}
	return UserNamespaced
}

// Apply makes a process that is started with attr the init of a PID namespace, with mounts of its
// own.
func (i Isolation) Apply(attr *syscall.SysProcAttr) {
	switch i {
	case Shared:
	case UserNamespaced:
		attr.Cloneflags |= unix.CLONE_NEWUSER
		// A process that is not root in the namespace keeps a capability across exec only as an ambient
		// one. Enter needs it.
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
		fallthrough
	case Namespaced:
		attr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS
	}
}

// Admit gives a process that was started with Apply its user and group. The process must not be
// Undumpable yet: its files in /proc would belong to root.
func (i Isolation) Admit(pid int) error {
	if i != UserNamespaced {
		return nil
	}
	// The started process does not yet run any foreign code, so it still exists. A process without
	// rights outside cannot map groups until setgroups is denied.
	for _, f := range []struct{ name, text string }{
		{"uid_map", oneID(os.Geteuid())}, {"setgroups", "deny"}, {"gid_map", oneID(os.Getegid())},
	} {
		if err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/"+f.name, []byte(f.text), 0); err != nil {
			return fmt.Errorf("user namespace: %w", err)
		}
	}
	return nil
}

// oneID maps an id to itself.
func oneID(id int) string { return fmt.Sprintf("%d %d 1", id, id) }

// Enter prepares this process, which was started with Apply and passed to Admit, to start the
// program: /proc then shows the processes of its own namespace.
func (i Isolation) Enter() error {
	if i == Shared {
		return nil
	}
	if os.Getpid() != 1 {
		return fmt.Errorf("this is process %d of its PID namespace, not the first one", os.Getpid())
	}
	// What is mounted outside later appears here, but not the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a /proc of its own: %w", err)
	}
	return nil
}

// dropCapabilities removes the capabilities of the user namespace from this thread. Programs that
// it starts cannot regain them.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	err := errors.Join(
		unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
		unix.Capset(&header, &none[0]))
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}
