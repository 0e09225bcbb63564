package confine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Possible is the isolation that can be tried by this process: whether the system allows it shows
// when it is tried.
func Possible() Isolation {
	if os.Geteuid() == 0 {
		return Namespaced
	}
	return UserNamespaced
}

// Apply makes a process that is started with attr the init of a PID namespace, with mounts of its own.
func (i Isolation) Apply(attr *syscall.SysProcAttr) {
	switch i {
	case Shared:
	case UserNamespaced:
		attr.Cloneflags |= unix.CLONE_NEWUSER
		// Who has no root in the namespace keeps a capability over exec only so. Enter needs it.
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
		fallthrough
	case Namespaced:
		attr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS
	}
}

// Admit gives a process that was started with Apply its user and group. It must not be Undumpable
// yet: its files in /proc would be root's.
func (i Isolation) Admit(pid int) error {
	if i != UserNamespaced {
		return nil
	}
	// The process that was started does not yet run anything of others, so it is there still. Groups
	// cannot be set by who has no rights outside, and must be seen to be.
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

// Enter makes this process, which was started with Apply and let in by Admit, ready to start the
// program: /proc shows the processes of its own namespace.
func (i Isolation) Enter() error {
	if i == Shared {
		return nil
	}
	if os.Getpid() != 1 {
		return fmt.Errorf("this is process %d of its PID namespace, not the first one", os.Getpid())
	}
	// What is mounted outside later appears here, and not the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a /proc of its own: %w", err)
	}
	return nil
}

// dropCapabilities leaves this thread without the capabilities of the user namespace, and what it
// starts without a way to get them.
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
