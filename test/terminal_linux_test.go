package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"
)

// atTerminal runs the program at a new pseudo-terminal, and returns what it printed there.
func atTerminal(t *testing.T, kind string, args ...string) []byte {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("pseudo-terminals: mount devpts (%v)", err)
	}
	defer person.Close()
	var number, unlocked uint32
	for request, value := range map[uintptr]*uint32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &unlocked} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatalf("ioctl %#x: %v", request, errno)
		}
	}
	programs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("pseudo-terminals: mount devpts (%v)", err)
	}
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Env = append(os.Environ(), "TERM="+kind)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = programs, programs, programs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = programs.Close() // so that the program has the last open descriptor
	out, err := io.ReadAll(person)
	if err != nil && !errors.Is(err, syscall.EIO) { // EIO: no process has the other side any more
		t.Fatal(err)
	}
	_ = cmd.Wait() // some commands fail
	return out
}

func TestTerminal_WhatAHostileServerSaysIsTextThereWhateverTheTerminalIsCalled(t *testing.T) {
	t.Parallel()
	const evil = `\u001b]0;owned\u0007\u001b[2J\u202e`
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/tasks" {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, `{"type":"x","title":"x","status":409,"detail":"%s"}`, evil)
			return
		}
		fmt.Fprintf(w, `{"tasks":[{"id":"%[1]s","kind":"%[1]s","status":"%[1]s"}],"id":"%[1]s"}`, evil)
	}))
	defer hostile.Close()
	for _, kind := range []string{"xterm", "dumb", ""} {
		for _, args := range [][]string{{"list"}, {"submit", "k", "1"}, {"show", "0197c0de-0000-7000-8000-000000000000"}} {
			out := atTerminal(t, kind, append(args, "--server", hostile.URL)...)
			if len(out) == 0 || bytes.ContainsAny(out, "\x1b\x07\u202e") {
				t.Errorf("TERM=%s, lastcall %q: %q", kind, args, out)
			}
		}
	}
}
