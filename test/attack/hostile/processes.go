//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// addShim adds the tricks against the shim, which is this program's parent.
func addShim(tricks map[string]trick) {
	tricks["ignore-signals"] = endure
	tricks["stop-shim"] = func() error {
		_ = syscall.Kill(os.Getppid(), syscall.SIGSTOP) // it may not be allowed
		return endure()
	}
	tricks["keep-shim-stopped"] = func() error {
		shim := os.Getppid()
		ignoreAll()
		begun()
		for {
			_ = syscall.Kill(shim, syscall.SIGSTOP)
			time.Sleep(time.Millisecond)
		}
	}
	tricks["kill-shim"] = func() error {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		return endure()
	}
	tricks["signal-shim"] = func() error {
		shim := os.Getppid() // not the new parent after the shim has ended
		for range 100 {
			for n := syscall.Signal(1); n < 65; n++ {
				if n != syscall.SIGKILL && n != syscall.SIGSTOP {
					_ = syscall.Kill(shim, n)
				}
			}
		}
		return endure()
	}
	tricks["limit-shim"] = func() error {
		for resource, limit := range map[int]uint64{unix.RLIMIT_NOFILE: 3, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_NPROC: 0, unix.RLIMIT_CPU: 1} {
			_ = unix.Prlimit(os.Getppid(), resource, &unix.Rlimit{Cur: limit, Max: limit}, nil)
		}
		return endure()
	}
	tricks["idle-shim"] = func() error {
		_ = unix.Setpriority(unix.PRIO_PROCESS, os.Getppid(), 19)
		_ = unix.SchedSetAttr(os.Getppid(), &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
		for range 4 {
			if err := spawn("busy", true, false); err != nil {
				return err
			}
		}
		return endure()
	}
	tricks["trace-shim"] = func() error {
		runtime.LockOSThread() // the tracing thread must stay alive
		_ = unix.PtraceSeize(os.Getppid())
		_ = unix.PtraceInterrupt(os.Getppid())
		return endure()
	}
	tricks["write-to-shim"] = writeToShim
	tricks["read-the-server"] = readTheServer
}

// addProcesses adds the tricks that leave processes behind, and more of them than expected.
func addProcesses(tricks map[string]trick) {
	tricks["stop-oneself"] = func() error {
		ignoreAll()
		begun()
		for {
			_ = syscall.Kill(0, syscall.SIGSTOP)
		}
	}
	tricks["leave-a-daemon"] = func() error { return spawn("stay", true, false) }
	tricks["hold-the-output"] = func() error { return spawn("stay", true, true) }
	tricks["respawn"] = func() error {
		for range 8 {
			if err := spawn("respawn", true, false); err != nil {
				return err
			}
		}
		return nil
	}
	tricks["fork-bomb"] = func() error {
		for range 500 { // the cage allows fewer
			if spawn("stay", true, false) != nil {
				break
			}
		}
		return endure()
	}
	tricks["own-namespaces"] = func() error {
		cmd := exec.Command("/proc/self/exe", "-part", "stay") //nolint:noctx // it is to outlive everything
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		}
		_ = cmd.Start() // it may not be allowed
		return endure()
	}
}

// addOutput adds the tricks that print more than can be kept, or what they must not know.
func addOutput(tricks map[string]trick) {
	tricks["flood"] = func() error {
		begun()
		line := []byte(strings.Repeat("x", 1<<16))
		for {
			_, _ = os.Stdout.Write(line)
			_, _ = os.Stderr.Write([]byte("\n"))
		}
	}
	tricks["progress-without-end"] = func() error {
		begun()
		for n := 0; ; n++ {
			fmt.Printf("::progress 0.%d %s\n", n%100, strings.Repeat("m", n%5000))
		}
	}
	tricks["list-descriptors"] = func() error {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		var all strings.Builder
		for _, n := range names {
			// The descriptor of the directory itself is gone.
			to, _ := os.Readlink("/proc/self/fd/" + n.Name())
			fmt.Fprintln(&all, n.Name(), to)
		}
		say("descriptors", all.String())
		return nil
	}
}

// writeToShim writes into every file that the shim has open.
func writeToShim() error {
	dir := fmt.Sprintf("/proc/%d/fd", os.Getppid())
	names, _ := os.ReadDir(dir) // empty where it may not be read
	for _, n := range names {
		file, err := os.OpenFile(filepath.Join(dir, n.Name()), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		_, _ = file.WriteString("{\"done\": {}}\n{\"exited\": {\"code\": 0}}\n\x00\x00\x00\x02{}")
		_ = file.Close()
	}
	return endure()
}

// readTheServer prints what it could read of shim and server.
func readTheServer() error {
	shim := os.Getppid()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", shim))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var state string
	var server int
	if _, err := fmt.Sscan(rest, &state, &server); err != nil {
		return err
	}
	var all strings.Builder
	for _, pid := range []int{shim, server} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		all.Write(text)
		names, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		for _, n := range names {
			to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, n.Name()))
			fmt.Fprintf(&all, "fd %d %s %s\n", pid, n.Name(), to)
		}
	}
	say("read", all.String())
	return nil
}
