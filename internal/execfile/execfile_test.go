package execfile_test

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

func TestWrite_TheProgramCanBeExecutedWhileOthersAreStarted(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	stop := make(chan struct{})
	var starters sync.WaitGroup
	for range 2 {
		starters.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.CommandContext(t.Context(), "/bin/true").Run() // it only has to begin
				}
			}
		})
	}
	defer starters.Wait()
	defer close(stop)
	for range 150 {
		if err := execfile.Write(program, []byte("#!/bin/true\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := exec.CommandContext(t.Context(), program).Run(); err != nil {
			t.Fatal(err)
		}
	}
}
