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

// What hostile children may have beside the limits that the driver gives to each: where there is a
// cgroup for it, no more of it together.
const (
	hostileMemory = 256 << 20
	hostileTasks  = 64
)

// confineHostile makes what hostile children are confined by: a user of their own, so that they may
// do nothing to others, and cgroups as far as the machine has them.
func (r *run) confineHostile() error {
	if r.opt.program == "" {
		return nil
	}
	if os.Geteuid() != 0 {
		r.skipped["hostile children"] = "they run as another user, which only root can make them"
		return nil
	}
	parts := []string{fmt.Sprint(30000 + os.Getpid()%10000)} // that has no account, and no other processes
	for controller, most := range map[string]int64{memoryController: hostileMemory, pidsController: hostileTasks} {
		g := ownCgroup(controller, filepath.Base(r.scratch))
		if g.usable() != nil {
			continue
		}
		child := g.child("hostile")
		err := child.create(most)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EROFS) {
			continue // limits of their own they have in any case
		}
		if err != nil {
			return fmt.Errorf("confine hostile children: %w", err)
		}
		parts = append(parts, filepath.Join(child.dir, "cgroup.procs"))
	}
	r.hostile = strings.Join(parts, ":")
	return nil
}
