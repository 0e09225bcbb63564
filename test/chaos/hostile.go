//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The limits of all hostile children together, where there is a cgroup for that. They apply in
// addition to the limits that the driver sets for each.
const (
	hostileMemory = 256 << 20
	hostileTasks  = 64
)

// confineHostile creates the confinement of hostile children: a user of their own, so that they
// cannot harm others, and cgroups as far as the machine has them.
func (r *run) confineHostile() error {
	if r.opt.program == "" {
		return nil
	}
	if os.Geteuid() != 0 {
		r.skipped["hostile children"] = "they run as another user, which only root can make them"
		return nil
	}
	// A user without an account, and without other processes.
	parts := []string{fmt.Sprint(30000 + os.Getpid()%10000)}
	for controller, most := range map[string]int64{memoryController: hostileMemory, pidsController: hostileTasks} {
		g := ownCgroup(controller, filepath.Base(r.scratch))
		if g.usable() != nil {
			continue
		}
		child := g.child("hostile")
		err := child.create(most)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EROFS) {
			continue // each child still has its own limits
		}
		if err != nil {
			return fmt.Errorf("confine hostile children: %w", err)
		}
		parts = append(parts, filepath.Join(child.dir, "cgroup.procs"))
	}
	r.hostile = strings.Join(parts, ":")
	return nil
}
