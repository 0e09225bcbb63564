package rehearse

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"unsafe"
)

// Capabilities, by their numbers in the kernel.
const (
	capChown          = 0
	capDACOverride    = 1
	capFowner         = 3
	capFsetID         = 4
	capKill           = 5
	capSetGID         = 6
	capSetUID         = 7
	capSetPCap        = 8
	capNetBindService = 10
	capNetRaw         = 13
	capSysChroot      = 18
	capSysAdmin       = 21
	capSysResource    = 24
	capMknod          = 27
	capAuditWrite     = 29
	capSetFCap        = 31
)

// kept are the capabilities that an image's root has in its own namespaces: those of a container
// that requests none.
var kept = []uintptr{
	capChown, capDACOverride, capFowner, capFsetID, capKill, capSetGID, capSetUID, capSetPCap,
	capNetBindService, capNetRaw, capSysChroot, capMknod, capAuditWrite, capSetFCap,
}

const joinSessionKeyring = 1 // of keyctl(2)

// giveUp switches to the image's user, and leaves this thread no way to more rights than that user
// has in a container.
func (e *entry) giveUp() error {
	for c := uintptr(0); ; c++ {
		if slices.Contains(kept, c) {
			continue
		}
		err := prctl(prCapBSetDrop, c)
		if errors.Is(err, syscall.EINVAL) {
			break // there are no more capabilities
		}
		if err != nil {
			return fmt.Errorf("capability %d: %w", c, err)
		}
	}
	if err := prctl(prCapAmbient, prCapAmbientClear); err != nil {
		return err
	}
	if e.Owners {
		if err := errors.Join(syscall.Setgroups(e.Image.existing()), syscall.Setgid(e.Image.Group), syscall.Setuid(e.Image.User)); err != nil {
			return fmt.Errorf("user %d, group %d: %w", e.Image.User, e.Image.Group, err)
		}
	}
	if err := setCapabilities(e.Image.User == 0); err != nil {
		return err
	}
	// The image must not see the keys of the session in which this was started.
	_, _, errno := syscall.RawSyscall(syscall.SYS_KEYCTL, joinSessionKeyring, 0, 0)
	if errno != 0 && errno != syscall.ENOSYS && errno != syscall.EPERM {
		return fmt.Errorf("keys of its own: %w", errno)
	}
	return prctl(prSetNoNewPrivs, 1)
}

// setCapabilities leaves this thread the capabilities that an image's root has, or none.
func setCapabilities(root bool) error {
	header := struct {
		version uint32
		pid     int32
	}{version: 0x20080522}
	var sets [2]struct{ effective, permitted, inheritable uint32 }
	for _, c := range kept {
		if root {
			sets[c/32].effective |= 1 << (c % 32)
			sets[c/32].permitted |= 1 << (c % 32)
		}
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0) //nolint:gosec // the kernel's own layout
	if errno != 0 {
		return fmt.Errorf("capabilities: %w", errno)
	}
	return nil
}
