//go:build !norehearse

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/image"
)

// The files that such a process inherits: a pipe with its orders, and the archive of an image, if
// an engine has exported one. The pipe ends when the process that has started it does.
const (
	ordersFD  = 3
	archiveFD = 4
)

// orders are what a process in namespaces receives from the one that has started it.
type orders struct {
	Engine string `json:"engine"` // which has exported the archive, empty for none
}

// apart runs the whole rehearsal in namespaces of its own, if it needs any: that of the network
// with --network none, and that of users if this user may give an image's users ids of their own.
// Then done is true, and err is the outcome.
func (i *imageFlags) apart(cmd *cobra.Command) (done bool, err error) {
	var ids *subordinate
	var oneUser error // why the image's users are one user here
	if i.file != "" && os.Geteuid() != 0 {
		ids, oneUser = findSubordinate()
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	runtime.LockOSThread() // the kernel kills the child when this thread ends
	defer runtime.UnlockOSThread()
	if ids != nil {
		if done, oneUser = i.again(cmd, ids, signals); done {
			return true, oneUser
		}
	}
	if oneUser != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the image has one user here, since this is not root, and %v\n", oneUser)
	}
	if i.network == networkHost {
		return false, nil
	}
	done, err = i.again(cmd, nil, signals)
	if !done {
		return false, fmt.Errorf("--network none: this system allows no network namespace: %w: run this as root, or allow user namespaces to all", err)
	}
	return true, err
}

// again executes this program again in namespaces, and waits for its end. If done is false it could
// not, and err says why.
func (i *imageFlags) again(cmd *cobra.Command, ids *subordinate, signals <-chan os.Signal) (done bool, err error) {
	theirs, mine, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer mine.Close()
	child := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{apartRaw}, os.Args[1:]...),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ExtraFiles: []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if i.network == networkNone {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
		if ids == nil {
			child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
			child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		}
	}
	var tell orders
	if i.exported != nil {
		tell.Engine = i.exported.Engine
		child.ExtraFiles = append(child.ExtraFiles, i.exported.File)
	}
	err = child.Start()
	_ = theirs.Close() // the child has its own copy
	if err != nil {
		return false, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = child.Wait() // how it ended is in ProcessState
	}()
	if err := errors.Join(ids.give(cmd.Context(), child.Process.Pid), tell.send(mine)); err != nil {
		_ = child.Process.Kill() // it may have ended
		<-ended
		return false, err
	}
	for {
		select {
		case s := <-signals:
			_ = child.Process.Signal(s) // it may have ended
			continue
		case <-ended:
		}
		switch code := child.ProcessState.ExitCode(); code {
		case 0:
			return true, nil
		case -1:
			complain(cmd.ErrOrStderr(), fmt.Errorf("the rehearsal was killed: %s", child.ProcessState))
			return true, exitError(2)
		default:
			return true, exitError(code)
		}
	}
}

// send tells a process that its namespaces are ready, and what it is to do.
func (o orders) send(to *os.File) error {
	_, err := to.Write([]byte{1})
	return errors.Join(err, json.NewEncoder(to).Encode(o))
}

// inside reports whether this process has been executed in its namespaces already. In namespaces
// that still have to be prepared it does that, and executes itself again.
func (i *imageFlags) inside() (bool, error) {
	switch os.Args[0] {
	case apartReady:
		return true, i.obey()
	case apartRaw:
		runtime.LockOSThread()
		if n, err := syscall.Read(ordersFD, make([]byte, 1)); n != 1 {
			return true, fmt.Errorf("the process that has started this one is gone: %w", errors.Join(err, os.ErrProcessDone))
		}
		if i.network == networkNone {
			if err := prepareNetwork(); err != nil {
				return true, err
			}
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			return true, fmt.Errorf("give up capabilities: %w", err)
		}
		return true, syscall.Exec("/proc/self/exe", append([]string{apartReady}, os.Args[1:]...), os.Environ())
	}
	return false, nil
}

// obey reads the orders. From here on this process ends with the one that has started it: the
// kernel may have forgotten that when this one got its rights.
func (i *imageFlags) obey() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("end with the process that has started this one: %w", err)
	}
	pipe := os.NewFile(ordersFD, "orders")
	defer pipe.Close()
	state := []unix.PollFd{{Fd: ordersFD}}
	if _, err := unix.Poll(state, 0); err != nil || state[0].Revents&unix.POLLHUP != 0 {
		return fmt.Errorf("the process that has started this one is gone: %w", errors.Join(err, os.ErrProcessDone))
	}
	var told orders
	if err := json.NewDecoder(pipe).Decode(&told); err != nil {
		return fmt.Errorf("what to rehearse: %w", err)
	}
	if told.Engine != "" {
		syscall.CloseOnExec(archiveFD)
		i.exported = &image.Exported{File: os.NewFile(archiveFD, "image"), Engine: told.Engine}
	}
	return nil
}

// prepareNetwork brings loopback up and lets every user listen on every port, as a container
// runtime does.
func prepareNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("--network none: %w", err)
	}
	loopback, err := unix.NewIfreq("lo")
	if err == nil {
		loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, loopback)
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("--network none: bring loopback up: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0); err != nil {
		return fmt.Errorf("--network none: allow all ports: %w", err)
	}
	return nil
}
