//go:build linux

package attack

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A cage is where a server and all its programs live: a user that owns nothing but one directory,
// and cgroups whose members the test can count.
type cage struct {
	t    *testing.T
	uid  int
	dir  string // the user's directory
	rest string // root's directory, for what the user must not touch
}

// The limits of the processes in a cage.
const (
	cageMemory    = 512 << 20
	cageProcesses = 200
	cageFile      = 64 << 20
	cageOpenFiles = 1024
)

const firstUser = 41000

var cages atomic.Int64

// newCage creates a cage. It needs root, since attackers and victims are different users.
func newCage(t *testing.T) *cage {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("servers and attackers are users of their own: run as root")
	}
	n := int(cages.Add(1))
	name := strconv.Itoa(n)
	c := &cage{t: t, uid: firstUser + n, dir: filepath.Join(scratch(), name), rest: filepath.Join(scratch(), name+"-root")}
	for _, err := range []error{os.Mkdir(c.dir, 0o755), os.Chown(c.dir, c.uid, c.uid), os.Mkdir(c.rest, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range cgroups(scratch()) {
		if err := g.make(name); err != nil {
			t.Skipf("hostile programs run in a cgroup only: %v", err)
		}
	}
	t.Cleanup(func() {
		if err := killCages(c.dir); err != nil {
			t.Error(err)
		}
	})
	return c
}

// cageVariable holds the order for a process that enters a cage and then becomes a program.
const cageVariable = "LASTCALL_ATTACK_CAGE"

type order struct {
	Cage, Program string
	UID           int
	Args, Env     []string
	Inherit       []int // descriptors that descriptor 3 is copied to
}

// command returns a command that runs a program in the cage as its user, with only the given
// environment.
func (c *cage) command(env []string, program string, args ...string) *exec.Cmd {
	c.t.Helper()
	return c.order(order{Env: env, Program: program, Args: args})
}

func (c *cage) order(o order) *exec.Cmd {
	c.t.Helper()
	o.Cage, o.UID = filepath.Base(c.dir), c.uid
	o.Env = append(o.Env, "PATH=/usr/bin:/bin", "HOME="+c.dir)
	text, err := json.Marshal(o)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.CommandContext(c.t.Context(), os.Args[0])
	cmd.Env = []string{cageVariable + "=" + string(text), scratchVariable + "=" + scratch()}
	cmd.Dir = c.dir
	cmd.WaitDelay = time.Second
	return cmd
}

// enterCage enters the cage and executes the program in place of this process.
func enterCage(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	for _, g := range cgroups(scratch()) {
		if err := g.enter(o.Cage); err != nil {
			return err
		}
	}
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_NPROC: 2 * cageProcesses, unix.RLIMIT_FSIZE: cageFile,
		unix.RLIMIT_NOFILE: cageOpenFiles, unix.RLIMIT_CORE: 0,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit %d: %w", resource, err)
		}
	}
	for _, fd := range o.Inherit {
		if err := unix.Dup3(3, fd, 0); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	syscall.Umask(0o022)
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(o.UID), syscall.Setuid(o.UID)); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", o.Program, syscall.Exec(o.Program, append([]string{o.Program}, o.Args...), o.Env))
}

// cgroup is one hierarchy, and the directory in it that holds the groups of a run.
type cgroup struct {
	dir    string
	limits map[string]int
}

// cgroups returns the groups of a run. Version 1 has one for memory and one for processes.
func cgroups(scratch string) (all []cgroup) {
	lines, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	name := filepath.Base(scratch)
	for line := range strings.Lines(string(lines)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		switch parts[1] {
		case "memory":
			all = append(all, cgroup{filepath.Join("/sys/fs/cgroup/memory", outside(parts[2]), name), map[string]int{"memory.limit_in_bytes": cageMemory}})
		case "pids":
			all = append(all, cgroup{filepath.Join("/sys/fs/cgroup/pids", outside(parts[2]), name), map[string]int{"pids.max": cageProcesses}})
		case "":
			if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
				all = append(all, cgroup{filepath.Join("/sys/fs/cgroup", outside(parts[2]), name), map[string]int{"memory.max": cageMemory, "pids.max": cageProcesses}})
			}
		}
	}
	return all
}

// outside returns a process's group without the part that a run has added to it.
func outside(group string) string {
	before, _, _ := strings.Cut(group, "/"+scratchPrefix)
	return cmp.Or(before, "/")
}

func (g cgroup) make(name string) error {
	dir := filepath.Join(g.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as the system's own
		return err
	}
	for file, limit := range g.limits {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (g cgroup) enter(name string) error {
	return os.WriteFile(filepath.Join(g.dir, name, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o600)
}

// members returns the processes of a cage.
func (c *cage) members() []int { return members(scratch(), filepath.Base(c.dir)) }

func members(scratch, name string) (pids []int) {
	for _, g := range cgroups(scratch) {
		files, err := filepath.Glob(filepath.Join(g.dir, name, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for _, file := range files {
			text, _ := os.ReadFile(file) // without the group there are no members
			for pid := range strings.FieldsSeq(string(text)) {
				if n, err := strconv.Atoi(pid); err == nil {
					pids = append(pids, n)
				}
			}
		}
		if len(files) > 0 {
			return pids // the other hierarchies have the same members
		}
	}
	return nil
}

// killCages kills all processes in the cage of a directory, or in all cages of a run.
func killCages(dir string) error {
	run, name := filepath.Dir(dir), filepath.Base(dir)
	if strings.HasPrefix(name, scratchPrefix) {
		run, name = dir, "*"
	}
	alive := func() (n int) {
		for _, pid := range members(run, name) {
			if !zombie(pid) {
				n++
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		return n
	}
	if !poll(time.Now().Add(20*time.Second), func() bool { return alive() == 0 }) {
		return fmt.Errorf("%d processes in %s cannot be killed", alive(), dir)
	}
	return nil
}

func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err != nil || strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// removeCages removes the groups of a run.
func removeCages(scratch string) (err error) {
	for _, g := range cgroups(scratch) {
		groups, globErr := filepath.Glob(filepath.Join(g.dir, "*", "cgroup.procs"))
		err = errors.Join(err, globErr)
		for _, dir := range append(groups, filepath.Join(g.dir, "cgroup.procs")) {
			dir = filepath.Dir(dir)
			var last error
			// Zombies leave the group a little later.
			gone := poll(time.Now().Add(10*time.Second), func() bool {
				last = os.Remove(dir)
				return last == nil || errors.Is(last, fs.ErrNotExist)
			})
			if !gone {
				err = errors.Join(err, last)
			}
		}
	}
	return err
}
