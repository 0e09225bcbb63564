package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// confess prints what the program is or can reach, and reports whether that was requested.
func confess(how string) bool {
	switch how {
	case "rights":
		rights()
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "becomes":
		becomes()
	case "escapes":
		escapes(os.Args[2])
	default:
		return false
	}
	return true
}

// rights prints the program's user, rights and surroundings.
func rights() {
	dir, _ := os.Getwd()
	name, _ := os.Hostname()
	groups, _ := os.Getgroups()
	session, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0)
	processes, _ := filepath.Glob("/proc/[0-9]*")
	fmt.Println("user", os.Getuid(), "group", os.Getgid(), "groups", groups)
	fmt.Println("dir", dir)
	fmt.Println("host", name)
	fmt.Println("leads its session", int(session) == os.Getpid())
	fmt.Println("sees processes", len(processes))
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"} {
			if strings.HasPrefix(line, name) {
				fmt.Print(strings.ReplaceAll(line, "\t", " "))
			}
		}
	}
}

// becomes creates a file, gives it to another user, and becomes that user, as servers do that begin
// as root.
func becomes() {
	const user, group = 65534, 1000
	if err := os.WriteFile("/given", nil, 0o600); err != nil {
		fmt.Println(err)
	}
	if err := os.Chown("/given", user, group); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, err := range []error{syscall.Setgroups(nil), syscall.Setgid(group), syscall.Setuid(user)} {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	var stat syscall.Stat_t
	err := syscall.Stat("/given", &stat)
	fmt.Println("became user", os.Getuid(), "group", fmt.Sprint(os.Getgid())+", owner", stat.Uid, stat.Gid)
	if err != nil {
		fmt.Println(err)
	}
}

// escapes prints which things it can reach that an image's program must not reach. The argument is
// a file of the machine.
func escapes(file string) {
	for _, try := range []struct {
		what string
		do   func() error
	}{
		{"a file of the machine", func() error { _, err := os.Stat(file); return err }},
		{"a file above a chroot", func() error { return aboveChroot(file) }},
		{"an open directory", openDirectory},
		{"a device", func() error {
			const character, zero = syscall.S_IFCHR | 0o600, 1<<8 | 5
			if err := syscall.Mknod("device", character, zero); err != nil {
				return err
			}
			f, err := os.Open("device")
			if err == nil {
				_, err = f.Read(make([]byte, 1))
			}
			return err
		}},
		{"a mount", func() error {
			if err := os.MkdirAll("mounted", 0o755); err != nil {
				return err
			}
			return syscall.Mount("tmpfs", "mounted", "tmpfs", 0, "")
		}},
		{"a user namespace", func() error {
			cmd := exec.Command("/proc/self/exe", "rights")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
			return cmd.Run()
		}},
		{"settings of the kernel", func() error { _, err := os.OpenFile("/proc/sys/kernel/core_pattern", os.O_WRONLY, 0); return err }},
		{"keys of the kernel", func() error { _, err := os.OpenFile("/proc/sysrq-trigger", os.O_WRONLY, 0); return err }},
		{"memory of the kernel", func() error { _, err := os.Open("/proc/kcore"); return err }},
		{"a port of root's", func() error { _, err := net.Listen("tcp", "127.0.0.1:1011"); return err }},
	} {
		if err := try.do(); err == nil {
			fmt.Println("reaches", try.what)
		} else {
			fmt.Println("does not reach", try.what, err)
		}
	}
}

// aboveChroot leaves a chroot that it has created for itself, as root can.
func aboveChroot(file string) error {
	root, err := os.Open("/")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("jail", 0o755); err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	defer os.Chdir(dir)
	if err := syscall.Chroot("jail"); err != nil {
		return err
	}
	if err := root.Chdir(); err != nil {
		return err
	}
	for range 10 {
		if err := os.Chdir(".."); err != nil {
			return err
		}
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	_, err = os.Stat(file)
	return err
}

// openDirectory searches for a directory that another process has left open in this one.
func openDirectory() error {
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.IsDir() && name != "/proc/self/fd/3" {
			return nil
		}
	}
	return os.ErrNotExist
}
