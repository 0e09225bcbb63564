//go:build !linux

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// errSystem is the error of every function on this system.
var errSystem = fmt.Errorf("process trees can be handled on Linux only: %w", errors.ErrUnsupported)

// Tree is a program and all its descendants.
type Tree struct{}

// Start is not possible here.
func Start(string, []string, os.ProcAttr) (*Tree, error) { return nil, errSystem }

// PID returns the process id of the program itself.
func (t *Tree) PID() int { return 0 }

// Exited returns a channel that closes when the program itself has ended.
func (t *Tree) Exited() <-chan struct{} { return nil }

// Gone returns a channel that closes when no process of the tree is left.
func (t *Tree) Gone() <-chan struct{} { return nil }

// Exit returns how the program itself has ended.
func (t *Tree) Exit() Exit { return Exit{} }

// Signal is not possible here.
func (t *Tree) Signal(syscall.Signal) error { return errSystem }

// Kill is not possible here.
func (t *Tree) Kill() error { return errSystem }

// BecomeSubreaper is not possible here.
func BecomeSubreaper() error { return errSystem }

// Children is not possible here.
func Children(int) ([]Process, error) { return nil, errSystem }

// Descendants is not possible here.
func Descendants(int) ([]Process, error) { return nil, errSystem }

// Signal is not possible here.
func (p Process) Signal(syscall.Signal) error { return errSystem }

// Alive is not possible here.
func Alive(int) bool { return false }

// Keeper waits for orphans.
type Keeper struct{}

// Start is not possible here.
func (k *Keeper) Start(*exec.Cmd) error { return errSystem }

// Wait is not possible here.
func (k *Keeper) Wait(*exec.Cmd) error { return errSystem }

// Run is not possible here.
func (k *Keeper) Run(context.Context) error { return errSystem }

// KillOrphans is not possible here.
func (k *Keeper) KillOrphans(context.Context) error { return errSystem }

// KillTree is not possible here.
func (k *Keeper) KillTree(context.Context, *exec.Cmd) error { return errSystem }
