package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// Children returns the children of a process, zombies included.
func Children(pid int) ([]Process, error) {
	all, err := list()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(p Process) bool { return p.Parent != pid }), nil
}

// Descendants returns the processes below a process, zombies included, parents before children.
// Processes that start meanwhile may be missing.
//
// If the kernel lists the children of a process (CONFIG_PROC_CHILDREN), it reads these lists. That
// takes microseconds: fast enough to kill a program that forks all the time.
func Descendants(pid int) ([]Process, error) {
	if err := ownProc(); err != nil {
		return nil, err
	}
	found, err := childrenOf(pid)
	if err != nil {
		all, err := list()
		if err != nil {
			return nil, err
		}
		return below(all, pid), nil
	}
	seen := map[int]bool{pid: true}
	for i := 0; i < len(found); i++ { // found grows
		seen[found[i].PID] = true
		more, err := childrenOf(found[i].PID)
		if err != nil {
			continue // gone
		}
		for _, p := range more {
			if !seen[p.PID] { // seen: the process has got another parent meanwhile
				found = append(found, p)
			}
		}
	}
	return found, nil
}

// childrenOf returns the children of each thread of a process. Those that start or end meanwhile
// may be missing.
func childrenOf(pid int) ([]Process, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Process
	for i, thread := range threads {
		b, err := os.ReadFile(dir + "/" + thread.Name() + "/children")
		if err != nil && i == 0 {
			return nil, err // gone, or an old kernel
		}
		for word := range bytes.FieldsSeq(b) {
			child, err := strconv.Atoi(string(word))
			if err != nil {
				return nil, fmt.Errorf("%s is not understood: %w", dir, err)
			}
			if p, err := look(child); err == nil && p.Parent == pid {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

// below returns the descendants of a process in a list.
func below(all []Process, pid int) []Process {
	byParent := make(map[int][]Process, len(all))
	for _, p := range all {
		byParent[p.Parent] = append(byParent[p.Parent], p)
	}
	below := byParent[pid]
	delete(byParent, pid)
	for i := 0; i < len(below); i++ { // below grows
		below = append(below, byParent[below[i].PID]...)
		delete(byParent, below[i].PID) // a list that is read while processes end may have a cycle
	}
	return below
}

// Signal sends a signal to the process. If the process is gone it returns nil, and sends nothing to
// another one with the same PID.
func (p Process) Signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(p.PID) // a pidfd: it never refers to another process
	if err != nil {
		return err
	}
	defer func() { _ = handle.Release() }() // its error does not matter
	now, err := look(p.PID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.Born != p.Born {
		return nil
	}
	if err != nil {
		return err
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// Alive reports whether a process exists and is no zombie.
func Alive(pid int) bool {
	p, err := look(pid)
	return err == nil && !p.Zombie()
}

// ownProc returns an error if /proc belongs to another PID namespace, in which PIDs mean other
// processes.
func ownProc() error {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("processes cannot be listed: %w: mount /proc", err)
	}
	if self != strconv.Itoa(os.Getpid()) {
		return fmt.Errorf("processes cannot be listed: /proc says that this is process %s, and it is %d: mount the /proc of this PID namespace", self, os.Getpid())
	}
	return nil
}

// list returns every process that /proc shows.
func list() ([]Process, error) {
	if err := ownProc(); err != nil {
		return nil, err
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("processes cannot be listed: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("processes cannot be listed: %w", err)
	}
	all := make([]Process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := look(pid); err == nil { // on an error the process is gone
			all = append(all, p)
		}
	}
	return all, nil
}

// look reads /proc/PID/stat.
func look(pid int) (Process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, syscall.ESRCH) { // gone between open and read
		err = fs.ErrNotExist
	}
	if err != nil {
		return Process{}, err
	}
	return parseStat(pid, b)
}

// parseStat reads a line of proc(5). The name in parentheses may have any bytes in it.
func parseStat(pid int, b []byte) (Process, error) {
	end := bytes.LastIndexByte(b, ')')
	fields := bytes.Fields(b[end+1:])
	const born = 19 // the 22nd field of the line; fields begins after the name, at the 3rd
	if end < 0 || len(fields) <= born {
		return Process{}, fmt.Errorf("/proc/%d/stat is not understood: %q", pid, b)
	}
	p := Process{PID: pid, State: fields[0][0]}
	var errs [4]error
	p.Parent, errs[0] = strconv.Atoi(string(fields[1]))
	p.Group, errs[1] = strconv.Atoi(string(fields[2]))
	p.Session, errs[2] = strconv.Atoi(string(fields[3]))
	p.Born, errs[3] = strconv.ParseUint(string(fields[born]), 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return Process{}, fmt.Errorf("/proc/%d/stat is not understood: %w", pid, err)
	}
	return p, nil
}
