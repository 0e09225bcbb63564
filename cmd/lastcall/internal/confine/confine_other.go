//go:build !linux

package confine

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// errSystem is the error of every function that cannot work on this system.
var errSystem = fmt.Errorf("programs can be confined on Linux only: %w", errors.ErrUnsupported)

// Undumpable is not supported here, and changes nothing.
func Undumpable() error { return nil }

// Possible returns the isolation of this system: none.
func Possible() Isolation { return Shared }

// Apply changes nothing.
func (i Isolation) Apply(*syscall.SysProcAttr) {}

// Admit changes nothing.
func (i Isolation) Admit(int) error { return nil }

// Enter changes nothing.
func (i Isolation) Enter() error { return nil }

// Start starts a program that is not confined.
func (i Isolation) Start(path string, argv []string, attr os.ProcAttr, p Program) (*proc.Tree, error) {
	if p.User != nil || p.Cgroup != nil {
		return nil, errSystem
	}
	return proc.Start(path, argv, attr)
}

// Cgroups creates control groups on Linux.
type Cgroups struct{}

// FindCgroups finds none here.
func FindCgroups(...Limits) (*Cgroups, error) { return nil, errSystem }

// Make is not supported here.
func (c *Cgroups) Make(string, Limits) (*Cgroup, error) { return nil, errSystem }

// OutOfMemory is not known here.
func (g *Cgroup) OutOfMemory() string { return "" }

// Kill is not supported here, and there is nothing to kill.
func (g *Cgroup) Kill() error { return nil }

// Remove has nothing to remove here.
func (g *Cgroup) Remove() error { return nil }
