//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryKinds end processes by their memory.
func memoryKinds() []kind {
	return []kind{{name: "oom", what: "A worker gets a memory cgroup in which there is no more memory, and the kernel kills it.", scope: oneWorker,
		timing: between(8*time.Second, 10*time.Second, restart), needs: func(r *run) error { return r.memory().usable() }, do: outOfMemory}}
}

// outOfMemory moves a worker to a cgroup with hardly any memory. What it has keeps being counted
// where it was, so the kernel kills it when it asks for more.
func outOfMemory(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) (err error) {
		g := r.memory().child(fmt.Sprintf("fault-%d", f.ID))
		if err := g.create(256 << 10); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.remove()) }()
		if err := g.add(p.pid()); err != nil && p.alive() {
			return err
		}
		if !p.endsWithin(ctx, time.Duration(f.For)) {
			p.kill() // it asked for nothing
		}
		return nil
	})
}

// cgroup is a memory cgroup of version 1 or 2.
type cgroup struct {
	dir   string
	limit string // the file of the limit
	err   error  // why there is none
}

// ownCgroup returns the memory cgroup below which a run makes its own.
func ownCgroup(name string) cgroup {
	lines, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return cgroup{err: err}
	}
	for line := range strings.Lines(string(lines)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[1] == "memory":
			return cgroup{dir: filepath.Join("/sys/fs/cgroup/memory", parts[2], name), limit: "memory.limit_in_bytes"}
		case parts[0] == "0":
			dir := filepath.Join("/sys/fs/cgroup", parts[2])
			if b, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control")); err == nil && strings.Contains(string(b), "memory") {
				return cgroup{dir: filepath.Join(dir, name), limit: "memory.max"}
			}
		}
	}
	return cgroup{err: errors.New("no memory cgroup in which this process may make others")}
}

// usable makes the cgroup, and says why it cannot.
func (g cgroup) usable() error {
	if g.err != nil {
		return g.err
	}
	if err := os.Mkdir(g.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("no memory cgroup can be made: %w", err)
	}
	return nil
}

func (g cgroup) child(name string) cgroup {
	return cgroup{dir: filepath.Join(g.dir, name), limit: g.limit}
}

func (g cgroup) create(bytes int64) error {
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(g.dir, g.limit), []byte(strconv.FormatInt(bytes, 10)), 0o600)
}

func (g cgroup) add(pid int) error {
	return os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600)
}

// remove removes the cgroup and those below it, which have no processes any more but may seem to for
// a moment.
func (g cgroup) remove() error {
	if g.dir == "" {
		return nil
	}
	below, _ := filepath.Glob(filepath.Join(g.dir, "*", "cgroup.procs")) // the pattern is good
	for _, path := range below {
		if err := (cgroup{dir: filepath.Dir(path)}).remove(); err != nil {
			return err
		}
	}
	var err error
	for range 100 {
		if err = os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove the memory cgroup: %w", err)
}
