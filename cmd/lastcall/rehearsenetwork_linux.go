//go:build !norehearse

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// enterNetwork executes this program again, in a network namespace that has only loopback.
func enterNetwork(cmd *cobra.Command) (done bool, err error) {
	switch os.Args[0] {
	case networkReady:
		return false, nil
	case networkRaw:
		runtime.LockOSThread()
		if err := prepareNetwork(); err != nil {
			complain(cmd.ErrOrStderr(), err)
			return true, exitError(2)
		}
		return true, syscall.Exec("/proc/self/exe", append([]string{networkReady}, os.Args[1:]...), os.Environ())
	}
	again := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{networkRaw}, os.Args[1:]...),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL},
	}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		again.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		again.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	runtime.LockOSThread() // the kernel kills the child when this thread ends
	defer runtime.UnlockOSThread()
	if err := again.Start(); err != nil {
		complain(cmd.ErrOrStderr(), fmt.Errorf("--network none: this system allows no network namespace: %w: run this as root, or allow user namespaces to all", err))
		return true, exitError(2)
	}
	ended := make(chan struct{})
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		for {
			select {
			case s := <-signals:
				_ = again.Process.Signal(s) // it may have ended
			case <-ended:
				return
			}
		}
	}()
	_ = again.Wait() // how it ended is in ProcessState
	close(ended)
	<-passed
	switch code := again.ProcessState.ExitCode(); code {
	case 0:
		return true, nil
	case -1:
		complain(cmd.ErrOrStderr(), fmt.Errorf("the rehearsal was killed: %s", again.ProcessState))
		return true, exitError(2)
	default:
		return true, exitError(code)
	}
}

// prepareNetwork brings loopback up and lets every user listen on every port, as a container
// runtime does. Then it drops the capabilities that this needed.
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
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("--network none: give up capabilities: %w", err)
	}
	return nil
}
