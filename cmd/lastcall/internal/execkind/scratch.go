package execkind

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/task"
)

// The variables that every run adds to a program's environment.
const (
	envTaskID     = "LASTCALL_TASK_ID"
	envKind       = "LASTCALL_KIND"
	envFence      = "LASTCALL_FENCE"
	envRun        = "LASTCALL_RUN"
	envPayload    = "LASTCALL_PAYLOAD_FILE"
	envCheckpoint = "LASTCALL_CHECKPOINT"
	envStop       = "LASTCALL_STOP_FILE"
)

// Variables lists the environment variables that every run sets, so that a kind cannot.
func Variables() []string {
	return []string{envTaskID, envKind, envFence, envRun, envPayload, envCheckpoint, envStop}
}

// scratch is the directory of one run, and is removed with all that is in it at the run's end.
type scratch struct {
	dir  string
	user *confine.User // of the program, nil for the server's own
}

// newScratch makes a run's directory with the payload in it, and the checkpoint if there is one.
func newScratch(payload, checkpoint []byte) (*scratch, error) {
	dir, err := os.MkdirTemp("", "lastcall-run-")
	if err != nil {
		return nil, fmt.Errorf("a run needs a directory of its own: %w: make the temporary directory writable, or name another one in TMPDIR", err)
	}
	s := &scratch{dir: dir}
	err = errors.Join(os.Mkdir(s.tmp(), 0o700), os.WriteFile(s.payload(), payload, 0o600))
	if checkpoint != nil {
		err = errors.Join(err, os.WriteFile(s.checkpoint(), checkpoint, 0o600))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("directory of the run: %w", err), s.remove())
	}
	return s, nil
}

func (s *scratch) payload() string    { return filepath.Join(s.dir, "payload") }
func (s *scratch) checkpoint() string { return filepath.Join(s.dir, "checkpoint") }
func (s *scratch) stopFile() string   { return filepath.Join(s.dir, "stop") }
func (s *scratch) tmp() string        { return filepath.Join(s.dir, "tmp") }

// env is the program's whole environment. Of two values of a variable the later one counts.
func (s *scratch) env(k Kind, run *task.Run) []string {
	all := slices.Concat([]string{"PWD=" + k.Dir, "TMPDIR=" + s.tmp()}, k.Env, []string{
		envTaskID + "=" + run.ID(),
		envKind + "=" + k.Name,
		envFence + "=" + strconv.FormatInt(run.FencingToken(), 10),
		envRun + "=" + strconv.Itoa(run.Task().Runs),
		envPayload + "=" + s.payload(),
		envCheckpoint + "=" + s.checkpoint(),
		envStop + "=" + s.stopFile(),
	})
	at := make(map[string]int)
	env := all[:0]
	for _, assignment := range all {
		name, _, _ := strings.Cut(assignment, "=")
		if i, ok := at[name]; ok {
			env[i] = assignment
			continue
		}
		at[name] = len(env)
		env = append(env, assignment)
	}
	return env
}

// writeStop tells the program until when it may go on, and why it must end. The file is there as a
// whole or not at all.
//
//	2026-01-02T15:04:05.678Z 9.500 stop
//
// Where there is no deadline the first two are "-".
func (s *scratch) writeStop(left time.Duration, limited bool, why string) error {
	line := "- - " + why + "\n"
	if limited {
		line = fmt.Sprintf("%s %.3f %s\n", time.Now().Add(left).UTC().Format("2006-01-02T15:04:05.000Z07:00"), left.Seconds(), why)
	}
	next := s.stopFile() + ".new"
	err := os.WriteFile(next, []byte(line), 0o600)
	if err == nil {
		err = s.own(next)
	}
	if err == nil {
		err = os.Rename(next, s.stopFile())
	}
	if err != nil {
		return fmt.Errorf("stop file: %w", err)
	}
	return nil
}

// whyStopped is the word in a stop file for the cause of a context's end.
func whyStopped(cause error) string {
	for _, c := range []struct {
		err  error
		word string
	}{{task.ErrTimeout, "timeout"}, {task.ErrCancelled, "cancelled"}, {task.ErrInterruptRequested, "requested"},
		{task.ErrLeaseLost, "lost"}, {task.ErrWorkerGone, "lost"}, {task.ErrDisconnected, "lost"}} {
		if errors.Is(cause, c.err) {
			return c.word
		}
	}
	return "stop"
}

func (s *scratch) remove() error {
	if err := removeAll(s.dir); err != nil {
		return fmt.Errorf("directory of a run is left behind: %w", err)
	}
	return nil
}

// removeAll removes a tree, also one in which the program took itself the right to write.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) // what cannot be changed cannot be removed either
		}
		return nil
	})
	return os.RemoveAll(dir)
}
