//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLeftOvers_NamesGoroutinesAndFiles(t *testing.T) {
	before := openFiles()
	if got := leftFiles(before); len(got) > 0 {
		t.Errorf("%q", got)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "forgotten"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := leftFiles(before); len(got) != 1 || !strings.Contains(got[0], "forgotten") {
		t.Errorf("%q", got)
	}
	release := make(chan struct{})
	done := make(chan struct{})
	go func() { <-release; close(done) }()
	if got := leftGoroutines(); len(got) == 0 || !strings.Contains(strings.Join(got, ""), "TestLeftOvers_NamesGoroutinesAndFiles.func") {
		t.Errorf("%q", got)
	}
	close(release)
	<-done
}
