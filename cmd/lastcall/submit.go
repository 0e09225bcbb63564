package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// submission holds the flags of submit.
type submission struct {
	to         target
	opt        task.EnqueueOptions
	meta       []string
	delay      string
	before     string
	keyFor     string
	onConflict string
	many       string
	wait       bool
	asJSON     bool
}

func newSubmit() *cobra.Command {
	var s submission
	cmd := &cobra.Command{
		Use:   "submit KIND JSON",
		Short: "Submit a task, and print its id; or many of them",
		Long: `Submit a task, and print its id. Once the command has succeeded, the task is stored durably.

With --id a submit whose answer was lost can be sent again: it creates no second task.

With --key the task is the only unfinished one of its kind with that key. Submitting another one
prints the first one's id, and --on-conflict says what happens:

  existing  the first task stays as it is
  replace   the first task gets the new payload, meta, priority and time, if it still waits
  discard   the new task is dropped

--key-for 10m holds the key for ten minutes, even if the task has ended.

--wait waits until the task has ended, and shows its progress on standard error. The exit code is
then that of the task: 0 succeeded, 10 failed, 11 cancelled, and 130 when Ctrl-C ended the waiting;
the task then goes on.

--many reads a task from each line of a file (- is standard input), as

  {"kind": "mail", "payload": {"to": "a"}, "id": "...", "queue": "mails", "key": "a", "priority": 1,
   "delay": "90s", "startBefore": "10m", "meta": {"tenant": "acme"}, "onConflict": "replace",
   "keyFor": "10m"}

Only kind and payload are needed. It prints an id for each line, and stops at a line that is wrong;
the printed ids are those of the lines before. Lines with an id can be sent again.`,
		Example: `  lastcall submit hash-tree '{"dir": "/usr/share/doc", "out": "/tmp/doc.sums"}'
  lastcall submit --store sqlite:tasks.db --delay 10m gzip-tree '{"dir": "/etc", "out": "/tmp/etc.tar.gz"}'
  lastcall submit --wait thumbnail '{"file": "a.jpg"}' && echo done
  jq -c '{kind: "thumbnail", payload: .}' files.json | lastcall submit --many -`,
		Args: func(cmd *cobra.Command, given []string) error {
			if s.many != "" {
				return args(0, "--many FILE")(cmd, given)
			}
			return args(2, "KIND JSON")(cmd, given)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.many != "" {
				return submitMany(cmd, &s)
			}
			return submitOne(cmd, &s, args[0], []byte(args[1]))
		},
	}
	s.to.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.opt.ID, "id", "", "the task's id, a UUID (default: a new one)")
	f.StringVar(&s.opt.Queue, "queue", "", "the queue of the task (default: its kind's queue at a server, \"default\" in a store)")
	f.StringVar(&s.opt.Key, "key", "", "make it the only unfinished task of its kind with this key")
	f.StringVar(&s.onConflict, "on-conflict", "", "what to do if the key is held: existing (the default), replace or discard")
	f.StringVar(&s.keyFor, "key-for", "", "hold the key for at least this time, as 10m, even if the task has ended")
	f.StringArrayVar(&s.meta, "meta", nil, "metadata of the task, as tenant=acme; may be given several times")
	f.IntVar(&s.opt.Priority, "priority", 0, "tasks with a higher number run first")
	f.StringVar(&s.delay, "delay", "", "do not start before this time has passed, as 90s")
	f.StringVar(&s.before, "start-before", "", "cancel it if it has not been started when this time has passed, as 10m")
	f.BoolVar(&s.wait, "wait", false, "wait until the task has ended, and exit with its exit code")
	f.StringVar(&s.many, "many", "", "read tasks from the lines of this file; - is standard input")
	f.BoolVar(&s.asJSON, "json", false, "print JSON: the task, or with --many id and outcome for each line")
	for _, one := range []string{"id", "queue", "key", "on-conflict", "key-for", "meta", "priority", "delay", "start-before", "wait"} {
		cmd.MarkFlagsMutuallyExclusive("many", one)
	}
	return cmd
}

func submitOne(cmd *cobra.Command, s *submission, kind string, payload []byte) error {
	if !json.Valid(payload) {
		return fmt.Errorf("the payload is not JSON: %w (in a shell, put it between single quotes)", jsonError(payload))
	}
	var err error
	if s.opt.Meta, err = parseMeta(s.meta); err != nil {
		return err
	}
	if s.opt.OnConflict, err = task.ParseOnConflict(s.onConflict); err != nil {
		return err
	}
	for _, d := range []struct {
		name, text string
		into       *time.Duration
	}{{"delay", s.delay, &s.opt.Delay}, {"start-before", s.before, &s.opt.StartBefore}, {"key-for", s.keyFor, &s.opt.KeyFor}} {
		if d.text != "" {
			if *d.into, err = parseDelay(d.name, d.text); err != nil {
				return err
			}
		}
	}
	return s.to.with(cmd.Context(), true, func(b backend) error {
		done, err := b.Enqueue(cmd.Context(), kind, payload, &s.opt)
		if err != nil {
			return err
		}
		remark(cmd, b, done)
		if !s.asJSON {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), done.ID); err != nil {
				return err
			}
		}
		var ended error
		if s.wait && done.Outcome != task.OutcomeDiscarded {
			if ended = awaitTask(cmd, b, done.ID); ended != nil && !isExit(ended) {
				return ended
			}
		}
		if s.asJSON {
			t, err := b.Get(cmd.Context(), done.ID)
			if err != nil {
				return fmt.Errorf("task %s is submitted, but cannot be looked at: %w", done.ID, err)
			}
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(httpapi.NewTask(t)); err != nil {
				return err
			}
		}
		return ended
	})
}

// remark prints on standard error what a person should know about a task that was accepted. It may
// fail without harm: a token that may submit may not be allowed to read.
func remark(cmd *cobra.Command, b backend, done task.EnqueueResult) {
	if done.Outcome == task.OutcomeDiscarded {
		fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: nothing is submitted: task %s has the key\n", done.ID)
		return
	}
	t, err := b.Get(cmd.Context(), done.ID)
	if err != nil {
		return
	}
	switch done.Outcome {
	case task.OutcomeExisting:
		fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: task %s existed already and was left as it is (%s)\n", t.ID, t.Status)
		return
	case task.OutcomeReplaced:
		fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: task %s had the key, waited, and has the new payload\n", t.ID)
	}
	t.RunAt = time.Time{} // a delay was requested, so it is no reason
	if why, err := waitsFor(cmd.Context(), b, t); err == nil && why != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: the task waits: %s\n", why)
	}
}

// waitsFor returns why no worker runs a task now.
func waitsFor(ctx context.Context, b backend, t task.Task) (why string, err error) {
	if t.Status.Ended() {
		return "", nil
	}
	var counts task.Counts
	if t.Status.Claimable() {
		if counts, err = b.Count(ctx); err != nil {
			return "", err
		}
	}
	workers, err := b.Workers(ctx)
	return task.PendingReason(t, workers, counts.Paused, time.Now()), err
}

// parseMeta parses the values of --meta, each a key and a value.
func parseMeta(given []string) (map[string]string, error) {
	meta := make(map[string]string, len(given))
	for _, pair := range given {
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := meta[key]; !ok || twice {
			return nil, usageError{fmt.Errorf("--meta %.80q: write it as key=value, and each key once", pair)}
		}
		meta[key] = value
	}
	return meta, nil
}

// jsonError returns why something is not JSON.
func jsonError(b []byte) error {
	var v any
	return json.Unmarshal(b, &v)
}

// maxDelay is the longest delay of a task, as package task has it.
const maxDelay = 100 * 365 * 24 * time.Hour

func parseDelay(name, s string) (time.Duration, error) {
	d, err := parseDuration(s, 0, maxDelay)
	if err != nil {
		return 0, fmt.Errorf("%w: %s %.40q: %w", task.ErrInvalid, name, s, err)
	}
	return d, nil
}
