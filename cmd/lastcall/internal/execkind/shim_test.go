//go:build unix

package execkind

import (
	"encoding/gob"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// bare starts a shim with a shell script and the run's directory, and returns the server's ends.
func bare(t *testing.T, script, scratch string) (orders, reports *os.File, wait func()) {
	t.Helper()
	return bareWith(t, start{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Dir: scratch, Env: []string{"PATH=" + os.Getenv("PATH")}, Scratch: scratch})
}

// bareWith is bare with any program.
func bareWith(t *testing.T, st start) (orders, reports *os.File, wait func()) {
	t.Helper()
	ordersR, orders, err1 := os.Pipe()
	reports, reportsW, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	cmd := shimCommand("test")
	cmd.ExtraFiles = []*os.File{ordersR, reportsW}
	if err := errors.Join(keeper.Start(cmd), closeAll(ordersR, reportsW)); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewEncoder(orders).Encode(order{Start: &st}); err != nil {
		t.Fatal(err)
	}
	return orders, reports, func() { _ = keeper.Wait(cmd) } // its reports count
}

func TestShim_RemovesTheRunsDirectoryWhenTheServerIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		gone   func(orders, reports *os.File) error
	}{
		"before the program has ended": {"while :; do sleep 1000; done", func(orders, reports *os.File) error { return closeAll(orders, reports) }},
		// The program dies because it prints, and the shim notices that before the end of the pipe.
		"and the program ends by that": {"sleep 0.3; exit 1", func(_, reports *os.File) error { return reports.Close() }},
	} {
		scratch := filepath.Join(t.TempDir(), "run")
		if err := os.Mkdir(scratch, 0o700); err != nil {
			t.Fatal(err)
		}
		orders, reports, wait := bare(t, c.script, scratch)
		if err := c.gone(orders, reports); err != nil {
			t.Fatal(err)
		}
		wait()
		if _, err := os.Stat(scratch); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		_ = orders.Close() // it may be closed already
	}
}
