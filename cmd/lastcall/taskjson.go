package main

import (
	"encoding/json"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// taskJSON is a task for programs: on HTTP, and in the output of --json.
type taskJSON struct {
	ID            string          `json:"id"`
	Kind          string          `json:"kind"`
	Status        task.Status     `json:"status"`
	Reason        task.Reason     `json:"reason,omitempty"`
	Priority      int             `json:"priority"`
	Runs          int             `json:"runs"`
	Attempts      int             `json:"attempts"`
	Interruptions int             `json:"interruptions"`
	Crashes       int             `json:"crashes"`
	Progress      progressJSON    `json:"progress"`
	Worker        string          `json:"worker,omitempty"`
	CreatedAt     time.Time       `json:"createdAt"`
	Since         time.Time       `json:"since"`
	RunAt         time.Time       `json:"runAt"`
	StartedAt     *time.Time      `json:"startedAt,omitempty"`
	FinishedAt    *time.Time      `json:"finishedAt,omitempty"`
	Error         string          `json:"error,omitempty"`
	Payload       json.RawMessage `json:"payload"`
	Checkpoint    json.RawMessage `json:"checkpoint,omitempty"`
	// History is in the answer about one task only.
	History []runJSON `json:"history,omitempty"`
}

type progressJSON struct {
	Fraction float64 `json:"fraction"`
	Message  string  `json:"message,omitempty"`
}

// runJSON is one run in a task's history.
type runJSON struct {
	Run       int64       `json:"run"`
	Worker    string      `json:"worker"`
	Host      string      `json:"host"`
	PID       int         `json:"pid"`
	StartedAt time.Time   `json:"startedAt"`
	EndedAt   *time.Time  `json:"endedAt,omitempty"`
	Status    task.Status `json:"status"`
	Reason    task.Reason `json:"reason,omitempty"`
	Error     string      `json:"error,omitempty"`
	Crashed   bool        `json:"crashed,omitempty"`
}

func toJSON(t task.Task) taskJSON {
	return taskJSON{
		ID: t.ID, Kind: t.Kind, Status: t.Status, Reason: t.Reason, Priority: t.Priority,
		Runs: t.Runs, Attempts: t.Attempts, Interruptions: t.Interruptions, Crashes: t.Crashes,
		Progress: progressJSON(t.Progress), Worker: t.Worker,
		CreatedAt: t.Created.UTC(), Since: t.Since.UTC(), RunAt: t.RunAt.UTC(),
		StartedAt: moment(t.Started), FinishedAt: moment(t.Finished),
		Error: t.Error, Payload: raw(t.Payload), Checkpoint: raw(t.Checkpoint),
	}
}

func runsToJSON(runs []task.RunRecord) []runJSON {
	var all []runJSON
	for _, r := range runs {
		all = append(all, runJSON{
			Run: r.Run, Worker: r.Worker, Host: r.Host, PID: r.PID, StartedAt: r.Started.UTC(), EndedAt: moment(r.Ended),
			Status: r.Status, Reason: r.Reason, Error: r.Error, Crashed: r.Crashed,
		})
	}
	return all
}

// moment is nil for no time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// raw is bytes as they are if they are JSON, and otherwise as a base64 string.
func raw(b []byte) json.RawMessage {
	if b == nil || json.Valid(b) {
		return b
	}
	quoted, err := json.Marshal(b)
	if err != nil {
		return nil
	}
	return quoted
}
