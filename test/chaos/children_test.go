//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// watched is a run with nothing but a program, which has a child.
type watched struct {
	*run
	children
	program *exec.Cmd
	input   io.WriteCloser
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{run: &run{scratch: t.TempDir()}}
	rec, err := newRecord(filepath.Join(w.scratch, "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	w.children = children{mark: w.run.mark(), rec: rec, alone: make(map[string]*family)}
	w.program = exec.Command(os.Args[0], programCommand)
	w.program.Env = append(os.Environ(), w.run.mark(), wire.EnvName+"=w4.1", "LASTCALL_FENCE=17", "LASTCALL_TASK_ID=some")
	input, output, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.program.Stdin, w.input = input, output // Wait does not close it
	if err := errors.Join(w.program.Start(), input.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.input.Close() // this ends the child; it may be closed already
		if err := rec.close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the program has a child", func() bool {
		f := w.family()
		return f != nil && f.program && len(f.others) == 1
	})
	return w
}

func (w *watched) family() *family { return families(w.run.mark())["17 of task some"] }

func TestChildren_OneThatOutlivesItsProgramIsRecorded(t *testing.T) {
	w, now := watch(t), time.Now()
	w.look(now)
	if _, err := w.input.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := w.program.Wait(); err != nil {
		t.Fatal(err)
	}
	w.look(now.Add(time.Second))
	w.look(now.Add(3 * time.Second))
	if events := w.children.rec.all(); len(events) > 0 {
		t.Errorf("it is there, and recorded as gone: %+v", events)
	}
	if err := w.input.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child has ended", func() bool { return w.family() == nil })
	w.look(now.Add(4 * time.Second))
	w.look(now.Add(5 * time.Second))
	events := w.children.rec.all()
	if len(events) != 1 {
		t.Fatalf("%+v", events)
	}
	if p := events[0].Process; p.Name != "w4.1" || p.What != history.Outlived || p.Lasted != 2*time.Second || !strings.HasSuffix(p.Left, "of run 17 of task some") {
		t.Errorf("%+v", p)
	}
}

func TestChildren_NothingIsRecordedWhenAllEndWithTheProgram(t *testing.T) {
	w, now := watch(t), time.Now()
	w.look(now)
	w.look(now.Add(time.Second))
	if err := w.input.Close(); err != nil {
		t.Fatal(err)
	}
	_ = w.program.Wait() // it has read no byte
	eventually(t, "the child has ended", func() bool { return w.family() == nil })
	w.look(now.Add(2 * time.Second))
	if events := w.children.rec.all(); len(events) > 0 {
		t.Errorf("%+v", events[0].Process)
	}
}
