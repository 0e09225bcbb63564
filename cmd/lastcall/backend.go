package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// backend is what commands work on: a *task.Client on a store, or an *httpapi.Client of a server.
type backend interface {
	Enqueue(ctx context.Context, kind string, payload []byte, opt *task.EnqueueOptions) (task.EnqueueResult, error)
	EnqueueMany(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error)
	Get(ctx context.Context, id string) (task.Task, error)
	Find(ctx context.Context, q task.Query) ([]task.Task, error)
	History(ctx context.Context, id string) ([]task.RunRecord, error)
	Commands(ctx context.Context, id string) ([]task.CommandRecord, error)
	Log(ctx context.Context, id string) ([]byte, error)
	Count(ctx context.Context) (task.Counts, error)
	Workers(ctx context.Context) ([]task.WorkerInfo, error)
	Cancel(ctx context.Context, id string) error
	Steps(ctx context.Context, id string) ([]task.StepRecord, error)
	Retry(ctx context.Context, id string, opt *task.RetryOptions) error
	Interrupt(ctx context.Context, id string) error
	Delete(ctx context.Context, id string) error
	Bulk(ctx context.Context, verb task.Verb, q task.Query, opt *task.BulkOptions) (task.BulkResult, error)
	Pause(ctx context.Context, queue string, opt *task.PauseOptions) error
	Resume(ctx context.Context, queue string) error
	Schedules(ctx context.Context, q task.ScheduleQuery) ([]task.ScheduleInfo, error)
	PauseSchedule(ctx context.Context, name string) error
	ResumeSchedule(ctx context.Context, name string) error
	RunSchedule(ctx context.Context, name string) (task.EnqueueResult, error)
}

// Environment variables with the address of a server and the secret that it wants, for commands
// without flags.
const (
	serverEnv    = "LASTCALL_SERVER"
	tokenEnv     = "LASTCALL_TOKEN"      //nolint:gosec // a variable's name
	tokenFileEnv = "LASTCALL_TOKEN_FILE" //nolint:gosec // a variable's name
)

// target holds the flags that choose a backend.
type target struct {
	store, storeFile, server, tokenFile string
	because                             string // of commands
}

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.server, "server", "", "address of a server (default $"+serverEnv+", or http://"+defaultListen+")")
	f.StringVar(&t.tokenFile, "token-file", "", "file that contains only the secret for the server (default $"+tokenFileEnv+"; $"+tokenEnv+" is the secret itself)")
	f.StringVar(&t.store, "store", "", "work on a store directly: "+storeUsage)
	f.StringVar(&t.storeFile, "store-file", "", "file that contains the address of the store")
	cmd.MarkFlagsMutuallyExclusive("server", "store", "store-file")
	cmd.MarkFlagsMutuallyExclusive("token-file", "store", "store-file")
}

// serverAddress returns the address of the server, or "" and that of the store if a store is used.
func (t *target) serverAddress() (server, store string, err error) {
	if t.server != "" {
		return t.server, "", nil
	}
	if address := strings.TrimSpace(os.Getenv(serverEnv)); t.store == "" && t.storeFile == "" && address != "" {
		return address, "", nil
	}
	if store, err = storeAddress(t.store, t.storeFile); err != nil || store != "" {
		return "", store, err
	}
	return "http://" + defaultListen, "", nil
}

// open returns the backend, and what to close when the command is done.
func (t *target) open(ctx context.Context, create bool) (backend, io.Closer, error) {
	server, store, err := t.serverAddress()
	if err != nil {
		return nil, nil, err
	}
	if store != "" {
		s, err := openStore(ctx, store, openOptions{create: create}, slog.Default())
		if err != nil {
			return nil, nil, err
		}
		return task.NewClient(s).As(userName(), t.because), s, nil
	}
	token, err := t.token()
	if err != nil {
		return nil, nil, err
	}
	c, err := httpapi.NewClient(httpapi.ClientConfig{Server: server, Token: token})
	if err != nil {
		return nil, nil, err
	}
	return c.WithReason(t.because), c, nil
}

// userName is the name that a store records for the commands of this program. A server records the
// name of the token instead.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// token returns the secret to send to a server, "" if there is none.
func (t *target) token() (string, error) {
	file := t.tokenFile
	if file == "" {
		if secret := strings.TrimSpace(os.Getenv(tokenEnv)); secret != "" {
			if !isSecret(secret) {
				return "", fmt.Errorf("$%s has white space or other signs in it that no secret has: give the secret alone", tokenEnv)
			}
			return secret, nil
		}
		if file = os.Getenv(tokenFileEnv); file == "" {
			return "", nil
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	words := bytes.Fields(b)
	if len(words) != 1 || !isSecret(string(words[0])) {
		return "", fmt.Errorf("token file %s: write the secret into it, alone on its line (a server's file also has names and roles)", file)
	}
	return string(words[0]), nil
}

// isSecret reports whether a text can be a secret, which is sent in a header.
func isSecret(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// with opens the backend, calls fn, and closes it.
func (t *target) with(ctx context.Context, create bool, fn func(backend) error) error {
	t.warnOfLoose(os.Stderr)
	b, closer, err := t.open(ctx, create)
	if err != nil {
		return err
	}
	err = withHint(fn(b))
	return errors.Join(err, closer.Close())
}

// withHint adds what to do to those errors of a server that do not say it themselves.
func withHint(err error) error {
	refused := (*httpapi.Problem)(nil)
	switch {
	case errors.As(err, new(*url.Error)):
		return fmt.Errorf("%w (--server chooses another address, --store works without a server)", err)
	case errors.As(err, &refused) && refused.Status == 401:
		return fmt.Errorf("%w (--token-file or $%s shows one)", err, tokenEnv)
	}
	return err
}

// story returns a task with its runs, and with what it waits for.
func story(ctx context.Context, b backend, id string) (httpapi.Task, error) {
	t, err := b.Get(ctx, id)
	if err != nil {
		return httpapi.Task{}, aboutTask(id, err)
	}
	runs, err := b.History(ctx, id)
	if err != nil {
		return httpapi.Task{}, aboutTask(id, err)
	}
	steps, err := b.Steps(ctx, id)
	if err != nil {
		return httpapi.Task{}, aboutTask(id, err)
	}
	j := httpapi.NewTask(t)
	asked, err := b.Commands(ctx, id)
	if err != nil {
		return httpapi.Task{}, aboutTask(id, err)
	}
	j.History, j.Steps, j.Commands = httpapi.NewRuns(runs), httpapi.NewSteps(steps), httpapi.NewCommands(asked)
	j.WaitsFor, err = waitsFor(ctx, b, t)
	return j, err
}

// aboutTask adds to an error which task it is about, and what to do.
func aboutTask(id string, err error) error {
	var hint string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, task.ErrNotFound):
		hint = `"lastcall list" shows the tasks that there are; ended ones are removed after a while`
	case errors.Is(err, task.ErrAlreadyFinished):
		hint = `it has ended: "lastcall show" says how`
	case errors.Is(err, task.ErrNotRunning):
		hint = `only a running task can be interrupted: "lastcall show" says what this one waits for`
	case errors.Is(err, task.ErrRunning):
		hint = `"lastcall interrupt" makes it hand over, "lastcall cancel" ends it`
	case errors.Is(err, task.ErrNotEnded):
		hint = `"lastcall cancel" ends it, then it can be deleted`
	case errors.Is(err, task.ErrKeyBusy):
		hint = `"lastcall list --key" shows the unfinished task that has its key`
	default:
		return fmt.Errorf("task %s: %w", cmp.Or(id, "?"), err)
	}
	return fmt.Errorf("task %s: %w (%s)", id, err, hint)
}
