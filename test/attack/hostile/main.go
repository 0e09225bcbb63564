//go:build linux

// Command hostile is a program of an exec kind that attacks the server that runs it:
//
//	hostile TRICK
//
// LASTCALL_ATTACK_DIR is a directory in which it writes a file begun-TASK when it has begun. It
// always ends by itself after a minute and a half.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// lifetime bounds every process of this program.
const lifetime = 90 * time.Second

// A trick returns when the program may end by itself. It does not return where the server has to
// end it.
type trick func() error

// allTricks returns the tricks by name, without those that are only a part of another one.
func allTricks() map[string]trick {
	tricks := make(map[string]trick)
	for _, add := range []func(map[string]trick){addFiles, addDirectories, addShim, addProcesses, addOutput} {
		add(tricks)
	}
	return tricks
}

func main() {
	time.AfterFunc(lifetime, func() { os.Exit(9) })
	tricks := allTricks()
	if len(os.Args) == 2 && os.Args[1] == "-list" {
		names := make([]string, 0, len(tricks))
		for name := range tricks {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Println(strings.Join(names, "\n"))
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "-part" {
		part(os.Args[2])
		return
	}
	do := tricks[os.Args[1]]
	if do == nil {
		fmt.Fprintln(os.Stderr, "no such trick")
		os.Exit(2)
	}
	err := do()
	if err != nil {
		say("trouble", err.Error())
	}
	begun()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// begun reports that the trick is under way. The tricks that do not return call it.
func begun() { say("begun", "") }

func say(what, text string) {
	name := filepath.Join(os.Getenv("LASTCALL_ATTACK_DIR"), what+"-"+os.Getenv("LASTCALL_TASK_ID"))
	_ = os.WriteFile(name, []byte(text), 0o644) //nolint:gosec // if it fails, the test times out
}

// endure neither ends by itself nor at a signal that can be ignored.
func endure() error {
	ignoreAll()
	begun()
	for {
		time.Sleep(time.Second)
	}
}

func ignoreAll() {
	for n := syscall.Signal(1); n < 32; n++ {
		if n != syscall.SIGKILL && n != syscall.SIGSTOP && n != syscall.SIGURG {
			signal.Ignore(n)
		}
	}
}

// part is what the processes do that a trick has started.
func part(name string) {
	ignoreAll()
	switch name {
	case "stay":
	case "busy":
		for { //nolint:staticcheck // that is the trick
		}
	case "respawn": // a search finds only a process that has already ended
		time.Sleep(5 * time.Millisecond)
		_ = spawn("respawn", true, false)
		return
	}
	for {
		time.Sleep(time.Second)
	}
}

// spawn starts a part, with no output or with that of this process.
func spawn(name string, session, output bool) error {
	cmd := exec.Command("/proc/self/exe", "-part", name) //nolint:noctx // it is to outlive everything
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	if output {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	return cmd.Start()
}

func checkpoint() string { return os.Getenv("LASTCALL_CHECKPOINT") }
func stopFile() string   { return os.Getenv("LASTCALL_STOP_FILE") }
func runDir() string     { return filepath.Dir(checkpoint()) }
func attackDir() string  { return os.Getenv("LASTCALL_ATTACK_DIR") }
