package execkind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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

// The names in a run's directory.
const (
	payloadName    = "payload"
	checkpointName = "checkpoint"
	stopName       = "stop"
	tmpName        = "tmp"
)

// runPrefix begins the names of the runs' directories.
const runPrefix = "lastcall-run-"

// scratch is the directory of one run. It is removed with everything in it when the run ends.
type scratch struct {
	folder *folder
	dir    string // its path, for the program
}

// newScratch creates a run's directory with the payload in it, and the checkpoint if there is one.
func newScratch(payload, checkpoint []byte) (*scratch, error) {
	f, dir, err := makeFolder(os.TempDir(), runPrefix)
	if err != nil {
		return nil, noScratch(err)
	}
	s := &scratch{folder: f, dir: dir}
	err = errors.Join(f.mkdir(tmpName), f.write(payloadName, payload))
	if checkpoint != nil {
		err = errors.Join(err, f.write(checkpointName, checkpoint))
	}
	if err != nil {
		return nil, errors.Join(noScratch(err), s.remove())
	}
	return s, nil
}

// path returns the path of a name, for the program. The server opens names in the folder instead.
func (s *scratch) path(name string) string { return filepath.Join(s.dir, name) }

// env returns the program's whole environment. Of two values of a variable the later one counts.
func (s *scratch) env(k Kind, run *task.Run) []string {
	all := slices.Concat([]string{"PWD=" + k.Dir, "TMPDIR=" + s.path(tmpName)}, k.Env, []string{
		envTaskID + "=" + run.ID(),
		envKind + "=" + k.Name,
		envFence + "=" + strconv.FormatInt(run.FencingToken(), 10),
		envRun + "=" + strconv.Itoa(run.Task().Runs),
		envPayload + "=" + s.path(payloadName),
		envCheckpoint + "=" + s.path(checkpointName),
		envStop + "=" + s.path(stopName),
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

// stopLine says until when the program may go on, and why it must end.
//
//	2026-01-02T15:04:05.678Z 9.500 stop
//
// Without a deadline the first two are "-".
func stopLine(left time.Duration, limited bool, why string) string {
	if !limited {
		return "- - " + why + "\n"
	}
	return fmt.Sprintf("%s %.3f %s\n", time.Now().Add(left).UTC().Format("2006-01-02T15:04:05.000Z07:00"), left.Seconds(), why)
}

// whyStopped is the word in a stop file for why a context has ended.
func whyStopped(cause error) string {
	for _, c := range []struct {
		err  error
		word string
	}{{task.ErrTimeout, "timeout"}, {task.ErrCancelled, "cancelled"}, {task.ErrInterruptRequested, "requested"}, {task.ErrTurn, "turn"},
		{task.ErrLeaseLost, "lost"}, {task.ErrWorkerGone, "lost"}, {task.ErrDisconnected, "lost"}} {
		if errors.Is(cause, c.err) {
			return c.word
		}
	}
	return "stop"
}

// remove removes the directory and everything in it.
func (s *scratch) remove() error {
	defer s.folder.close()
	if err := s.folder.remove(); err != nil {
		return fmt.Errorf("directory of a run: %w", err)
	}
	return nil
}
