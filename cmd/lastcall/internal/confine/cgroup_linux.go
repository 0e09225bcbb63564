package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// Cgroups creates control groups below that of this process.
type Cgroups struct {
	of map[string]hierarchy // by controller
}

const (
	// prefix begins the name of a run's group; the process id of the server follows.
	prefix = "lastcall-run-"
	// leaf is the group of the server itself in cgroup v2, where a group that has groups with limits
	// below it must not have processes of its own.
	leaf = "lastcall-server"
	// period is the period over which a share of the processor is counted.
	period = 100_000 // microseconds
)

// FindCgroups finds out whether limits of this kind can be enforced, by creating a group for them.
// In cgroup v2 it moves this process one group down, once. It also removes groups that are left
// from an earlier server that was killed.
func FindCgroups(all ...Limits) (*Cgroups, error) {
	var needed []string
	for _, l := range all {
		needed = append(needed, l.controllers()...)
	}
	slices.Sort(needed)
	needed = slices.Compact(needed)
	if len(needed) == 0 {
		return nil, errNothingToLimit
	}
	found, err := findHierarchies(needed)
	if err != nil {
		return nil, err
	}
	c := &Cgroups{of: found}
	for name, h := range found {
		if !h.unified {
			continue
		}
		if h.own, err = delegate(h.own, needed); err != nil {
			return nil, fmt.Errorf("control groups for limits: %w: delegate the group to the server (systemd: Delegate=yes), or take the limits out", err)
		}
		found[name] = h
	}
	c.removeLeft()
	for _, l := range all {
		if len(l.controllers()) == 0 {
			continue
		}
		trial, err := c.Make("trial", l)
		if err != nil {
			return nil, err
		}
		if err := trial.Remove(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// delegate enables controllers for the groups below the cgroup v2 group of this process. That group
// must have no processes of its own for this. Other processes in it are not moved: they are not
// ours.
func delegate(own string, controllers []string) (string, error) {
	if filepath.Base(own) == leaf { // this process is in the leaf already
		own = filepath.Dir(own)
	} else {
		below := filepath.Join(own, leaf)
		if err := os.Mkdir(below, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if err := write(below, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
			return "", err
		}
	}
	for _, c := range controllers {
		err := write(own, "cgroup.subtree_control", "+"+c)
		if errors.Is(err, syscall.EBUSY) {
			return "", fmt.Errorf("there are other processes in %s: start the server in a group of its own: %w", own, err)
		}
		if err != nil {
			return "", err
		}
	}
	return own, nil
}

// Make creates a group with limits. Its name must be unique among the groups of this process.
func (c *Cgroups) Make(name string, l Limits) (*Cgroup, error) {
	g := &Cgroup{Memory: l.Memory}
	if err := c.make(g, prefix+strconv.Itoa(os.Getpid())+"-"+name, l); err != nil {
		return nil, errors.Join(fmt.Errorf("control group for the limits: %w: let the server write its own groups (systemd: Delegate=yes), or take the limits out", err), g.Remove())
	}
	return g, nil
}

func (c *Cgroups) make(g *Cgroup, name string, l Limits) error {
	at := make(map[string]string)
	for _, controller := range l.controllers() {
		h := c.of[controller]
		dir := filepath.Join(h.own, name)
		at[controller], g.Unified = dir, h.unified
		if slices.Contains(g.Dirs, dir) {
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		g.Dirs = append(g.Dirs, dir)
	}
	for _, s := range l.settings(g.Unified) {
		err := write(at[s.controller], s.file, s.value)
		if err != nil && !(s.optional && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// setting is a value that is written into one file of a group.
type setting struct {
	controller, file, value string
	optional                bool // a kernel without swap does not have it
}

func (l Limits) settings(unified bool) []setting {
	var all []setting
	n := func(i int64) string { return strconv.FormatInt(i, 10) }
	if l.Memory > 0 && unified {
		all = append(all, setting{controllerMemory, "memory.max", n(l.Memory), false}, setting{controllerMemory, "memory.swap.max", "0", true})
	} else if l.Memory > 0 {
		all = append(all, setting{controllerMemory, "memory.limit_in_bytes", n(l.Memory), false}, setting{controllerMemory, "memory.memsw.limit_in_bytes", n(l.Memory), true})
	}
	quota := l.CPU * period / 1000
	if l.CPU > 0 && unified {
		all = append(all, setting{controllerCPU, "cpu.max", fmt.Sprintf("%d %d", quota, period), false})
	} else if l.CPU > 0 {
		all = append(all, setting{controllerCPU, "cpu.cfs_period_us", n(period), false}, setting{controllerCPU, "cpu.cfs_quota_us", n(quota), false})
	}
	if l.PIDs > 0 {
		all = append(all, setting{controllerPIDs, "pids.max", n(l.PIDs), false})
	}
	return all
}

// write writes into a file of a group, which must exist.
func write(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// enter prepares attr so that a process that this thread starts with it begins in the group. The
// caller calls leave afterwards.
func (g *Cgroup) enter(attr *syscall.SysProcAttr) (leave func() error, err error) {
	leave = func() error { return nil } // the thread ends
	if g == nil {
		return leave, nil
	}
	if g.Unified {
		fd, err := unix.Open(g.Dirs[0], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return leave, fmt.Errorf("control group %s: %w", g.Dirs[0], err)
		}
		attr.UseCgroupFD, attr.CgroupFD = true, fd
		return func() error { return unix.Close(fd) }, nil
	}
	for _, dir := range g.Dirs {
		if err := write(dir, "tasks", strconv.Itoa(unix.Gettid())); err != nil {
			return leave, fmt.Errorf("control group: %w", err)
		}
	}
	return leave, nil
}

// OutOfMemory reports in words that the group's memory limit has killed processes. It returns "" if
// the limit has not.
func (g *Cgroup) OutOfMemory() string {
	if g == nil || g.Memory == 0 {
		return ""
	}
	reached, killed := false, int64(0)
	for _, dir := range g.Dirs {
		if g.Unified {
			reached = reached || number(dir, "memory.events", "oom") > 0
			killed += number(dir, "memory.events", "oom_kill")
			continue
		}
		// The count of failures stays 0 in newer kernels. Memory is charged some pages at a time.
		reached = reached || number(dir, "memory.max_usage_in_bytes", "") > g.Memory-g.Memory/16
		killed += number(dir, "memory.oom_control", "oom_kill")
	}
	if !reached || killed == 0 { // or the machine's memory was used up
		return ""
	}
	return fmt.Sprintf("its limit of memory (%s) was reached, and %d of its processes killed for it", FormatSize(g.Memory), killed)
}

// number returns the number after a word in a file of a group, or the only number in the file; 0 if
// there is none.
func number(dir, file, word string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0 // it is another controller's directory
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if word != "" && (len(fields) != 2 || fields[0] != word) || len(fields) == 0 {
			continue
		}
		n, _ := strconv.ParseInt(fields[len(fields)-1], 10, 64) // the kernel writes numbers
		return n
	}
	return 0
}

// Kill kills everything in the group at once, if the system supports that.
func (g *Cgroup) Kill() error {
	if g == nil || !g.Unified {
		return nil
	}
	// Linux 5.14.
	if err := write(g.Dirs[0], "cgroup.kill", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kill the control group: %w", err)
	}
	return nil
}

// removeWait is how long killed processes may take to leave their group.
const removeWait = 2 * time.Second

// Remove removes the group, which must be empty.
func (g *Cgroup) Remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, dir := range g.Dirs {
		errs = append(errs, removeGroup(dir, removeWait))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("a control group is left behind: %w", err)
	}
	return nil
}

// removeGroup removes a directory of a group. A process that has just ended may count as a member
// for a moment longer.
func removeGroup(dir string, wait time.Duration) error {
	for late := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Rmdir(dir)
		switch {
		case err == nil || errors.Is(err, syscall.ENOENT):
			return nil
		case !errors.Is(err, syscall.EBUSY) || time.Now().After(late):
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
}

// removeLeft removes the groups of servers that are gone.
func (c *Cgroups) removeLeft() {
	for _, h := range c.of {
		names, err := filepath.Glob(filepath.Join(h.own, prefix+"*"))
		if err != nil {
			continue
		}
		for _, dir := range names {
			text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
			if pid, err := strconv.Atoi(text); err == nil && !proc.Alive(pid) {
				_ = removeGroup(dir, 0) // a group that is not empty stays
			}
		}
	}
}
