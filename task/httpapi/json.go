package httpapi

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

// Task is a task as JSON: in the answers of this API, and wherever else one is written as JSON.
// Times are UTC, and zero ones are left out.
type Task struct {
	// ID to Priority are as in [task.Task].
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Queue    string `json:"queue"`
	Key      string `json:"key,omitempty"`
	Priority int    `json:"priority"`
	// Meta came with the task in addition to its payload.
	Meta map[string]string `json:"meta,omitempty"`
	// Status is the present status, Reason why the task was interrupted last, or expired.
	Status task.Status `json:"status"`
	Reason task.Reason `json:"reason,omitempty"`
	// WaitsFor is why a waiting task is not claimed; see [task.PendingReason]. Only the answer about
	// one task has it.
	WaitsFor string `json:"waitsFor,omitempty"`
	// Runs counts the runs; Attempts, Interruptions and Crashes those that ended so.
	Runs          int `json:"runs"`
	Attempts      int `json:"attempts"`
	Interruptions int `json:"interruptions"`
	Crashes       int `json:"crashes"`
	// Suspicion is the group in which it runs as a suspect; see [task.Suspicion].
	Suspicion string `json:"suspicion,omitempty"`
	// Progress is for people.
	Progress Progress `json:"progress"`
	// Run is the number of the present or last run, the fencing token. Worker has or had that run.
	Run    int64  `json:"run,omitempty"`
	Worker string `json:"worker,omitempty"`
	// CreatedAt to FinishedAt are by the store's clock.
	CreatedAt  time.Time `json:"createdAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	RunAt      time.Time `json:"runAt,omitzero"`
	Since      time.Time `json:"since,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	// StartBefore is when the task is cancelled unless it has been claimed.
	StartBefore time.Time `json:"startBefore,omitzero"`
	// Error is the text of the last run's error.
	Error string `json:"error,omitempty"`
	// Payload, Checkpoint and Result are left out of lists.
	Payload    json.RawMessage `json:"payload,omitempty"`
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"`
	// Base64 names those of the three that are not JSON: they are strings in base64.
	Base64 []string `json:"base64,omitempty"`
	// History are the newest runs, the oldest first. Only the answer about one task has it.
	History []Run `json:"history,omitempty"`
	// Steps are the records of its steps, without their contents. Only the output of the program's
	// show command has them; a server returns them on their own route.
	Steps []Step `json:"steps,omitempty"`
	// Commands are the commands that people have given for it, the oldest first. Only the answer about
	// one task has them.
	Commands []Command `json:"commands,omitempty"`
}

// Progress is how far a run is, for people.
type Progress struct {
	// Fraction is from 0 to 1.
	Fraction float64 `json:"fraction"`
	// Message is a short text for people.
	Message string `json:"message,omitempty"`
}

// Run is one run in a task's history; see [task.RunRecord].
type Run struct {
	// Run is its number, Worker the incarnation that had it, Host and PID where it ran.
	Run    int64  `json:"run"`
	Worker string `json:"worker"`
	Host   string `json:"host"`
	PID    int    `json:"pid"`
	// EndedAt is zero while it goes on.
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	// Status is the status that the run gave the task.
	Status task.Status `json:"status"`
	Reason task.Reason `json:"reason,omitempty"`
	Error  string      `json:"error,omitempty"`
	// Crashed: its process died. Reclaimed: another worker recorded the end.
	Crashed   bool `json:"crashed,omitempty"`
	Reclaimed bool `json:"reclaimed,omitempty"`
}

// Command is a command in a task's history; see [task.CommandRecord].
type Command struct {
	// Command is what was requested, At when.
	Command task.Verb `json:"command"`
	At      time.Time `json:"at"`
	// By is who requested it and Reason why; each is empty where it was not given.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// NewCommands returns the commands of a history.
func NewCommands(records []task.CommandRecord) []Command {
	all := make([]Command, len(records))
	for i, r := range records {
		all[i] = Command{Command: r.Verb, At: r.At.UTC(), By: r.By, Reason: r.Reason}
	}
	return all
}

// NewTask returns a task with its payload, checkpoint and result.
func NewTask(t task.Task) Task {
	j := NewTaskSummary(t)
	field := func(name string, b []byte) json.RawMessage {
		if b == nil || json.Valid(b) && utf8.Valid(b) {
			return b
		}
		j.Base64 = append(j.Base64, name)
		quoted, err := json.Marshal(b)
		if err != nil { // bytes always encode
			return nil
		}
		return quoted
	}
	j.Payload, j.Checkpoint, j.Result = field("payload", t.Payload), field("checkpoint", t.Checkpoint), field("result", t.Result)
	return j
}

// NewTaskSummary returns a task without its payload, checkpoint and result, as lists have it.
func NewTaskSummary(t task.Task) Task {
	return Task{
		ID: t.ID, Kind: t.Kind, Queue: t.Queue, Key: t.Key, Priority: t.Priority, Meta: t.Meta, Status: t.Status, Reason: t.Reason,
		Runs: t.Runs, Attempts: t.Attempts, Interruptions: t.Interruptions, Crashes: t.Crashes, Suspicion: t.Suspicion.String(),
		Progress: Progress(t.Progress), Run: t.Run, Worker: t.Worker,
		CreatedAt: t.Created.UTC(), StartedAt: t.Started.UTC(), RunAt: t.RunAt.UTC(), Since: t.Since.UTC(), FinishedAt: t.Finished.UTC(),
		StartBefore: t.StartBefore.UTC(),
		Error:       t.Error,
	}
}

// NewRuns returns the runs of a history.
func NewRuns(records []task.RunRecord) []Run {
	runs := make([]Run, len(records))
	for i, r := range records {
		runs[i] = Run{
			Run: r.Run, Worker: r.Worker, Host: r.Host, PID: r.PID, StartedAt: r.Started.UTC(), EndedAt: r.Ended.UTC(),
			Status: r.Status, Reason: r.Reason, Error: r.Error, Crashed: r.Crashed, Reclaimed: r.Reclaimed,
		}
	}
	return runs
}

// task converts a Task back.
func (j Task) task() (task.Task, error) {
	group, err := task.ParseSuspicion(j.Suspicion)
	if err != nil {
		return task.Task{}, err
	}
	t := task.Task{
		ID: j.ID, Kind: j.Kind, Queue: j.Queue, Key: j.Key, Priority: j.Priority, Meta: j.Meta, Status: j.Status, Reason: j.Reason,
		Runs: j.Runs, Progress: task.Progress(j.Progress), Run: j.Run, Worker: j.Worker,
		Counters: task.Counters{Attempts: j.Attempts, Interruptions: j.Interruptions, Crashes: j.Crashes, Suspicion: group},
		Created:  j.CreatedAt, Started: j.StartedAt, RunAt: j.RunAt, Since: j.Since, Finished: j.FinishedAt, StartBefore: j.StartBefore,
		Error: j.Error, Payload: j.Payload, Checkpoint: j.Checkpoint, Result: j.Result,
	}
	fields := map[string]*[]byte{"payload": &t.Payload, "checkpoint": &t.Checkpoint, "result": &t.Result}
	for _, name := range j.Base64 {
		if b := fields[name]; b != nil {
			quoted := *b
			if err := json.Unmarshal(quoted, b); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

func (r Run) record() task.RunRecord {
	return task.RunRecord{
		Run: r.Run, Worker: r.Worker, Host: r.Host, PID: r.PID, Started: r.StartedAt, Ended: r.EndedAt,
		Status: r.Status, Reason: r.Reason, Error: r.Error, Crashed: r.Crashed, Reclaimed: r.Reclaimed,
	}
}

// page is an answer to GET /v1/tasks.
type page struct {
	Tasks []Task `json:"tasks"`
	// Next is the after of the next page, empty when there is none.
	Next string `json:"next,omitempty"`
}

// submission is a new task, as a client sends it.
type submission struct {
	ID       string          `json:"id,omitempty"`
	Kind     string          `json:"kind"`
	Payload  json.RawMessage `json:"payload"`
	Queue    string          `json:"queue,omitempty"`
	Key      string          `json:"key,omitempty"`
	Priority int             `json:"priority,omitempty"`
	Delay    string          `json:"delay,omitempty"`

	StartBefore string `json:"startBefore,omitempty"`

	Meta map[string]string `json:"meta,omitempty"`

	OnConflict string `json:"onConflict,omitempty"`
	KeyFor     string `json:"keyFor,omitempty"`
}

// submitted is the answer to a submission.
type submitted struct {
	ID       string       `json:"id"`
	Outcome  task.Outcome `json:"outcome"`
	WaitsFor string       `json:"waitsFor,omitempty"`
}

// batchLine is the answer to one line of a batch.
type batchLine struct {
	Line    int           `json:"line"`
	ID      string        `json:"id,omitempty"`
	Outcome *task.Outcome `json:"outcome,omitempty"`
	Problem *Problem      `json:"problem,omitempty"`
}

// counts is task.Counts as JSON.
type counts struct {
	Tasks    []count  `json:"tasks"`
	Paused   []string `json:"paused"`
	Suspects suspects `json:"suspects"`
}

// suspects are how many tasks are suspects.
type suspects struct {
	Waiting int `json:"waiting"`
	Running int `json:"running"`
}

type count struct {
	Queue  string      `json:"queue"`
	Kind   string      `json:"kind"`
	Status task.Status `json:"status"`
	N      int         `json:"n"`
}

func countsOf(c task.Counts) counts {
	j := counts{Tasks: make([]count, len(c.Tasks)), Paused: append([]string{}, c.Paused...),
		Suspects: suspects{c.SuspectsWaiting, c.SuspectsRunning}}
	for i, n := range c.Tasks {
		j.Tasks[i] = count(n)
	}
	return j
}

func (j counts) counts() task.Counts {
	c := task.Counts{Paused: j.Paused, SuspectsWaiting: j.Suspects.Waiting, SuspectsRunning: j.Suspects.Running}
	for _, n := range j.Tasks {
		c.Tasks = append(c.Tasks, task.Count(n))
	}
	return c
}

// queue is a queue in the answer to GET /v1/queues.
type queue struct {
	Name   string              `json:"name"`
	Paused bool                `json:"paused"`
	Tasks  map[task.Status]int `json:"tasks"`
}

// worker is task.WorkerInfo as JSON.
type worker struct {
	Worker string   `json:"worker"`
	Name   string   `json:"name"`
	Host   string   `json:"host"`
	PID    int      `json:"pid"`
	Kinds  []string `json:"kinds"`
	// Queues is empty for every queue.
	Queues   []string         `json:"queues"`
	Slots    int              `json:"slots"`
	Lease    string           `json:"lease"`
	State    task.WorkerState `json:"state"`
	Liveness task.Liveness    `json:"liveness"`
	Dead     bool             `json:"dead"`
	Since    time.Time        `json:"since"`
	// Unresponsive are the tasks of handlers that do not return.
	Unresponsive []string `json:"unresponsive"`
	// Paused are the kinds that it cannot run now.
	Paused []task.PausedKind `json:"paused"`
}

func workerOf(w task.WorkerInfo) worker {
	return worker{
		Worker: w.Worker, Name: w.Name, Host: w.Host, PID: w.PID, Kinds: append([]string{}, w.Kinds...),
		Queues: append([]string{}, w.Queues...), Slots: w.Slots, Unresponsive: append([]string{}, w.Unresponsive...), Lease: w.Lease.String(),
		State: w.State, Liveness: w.Liveness, Dead: w.Dead, Since: w.Since.UTC(), Paused: append([]task.PausedKind{}, w.Paused...),
	}
}

func (j worker) info() (task.WorkerInfo, error) {
	lease, err := time.ParseDuration(j.Lease)
	return task.WorkerInfo{
		Beat: task.Beat{Worker: j.Worker, Name: j.Name, Host: j.Host, PID: j.PID, Kinds: j.Kinds, Queues: j.Queues, Slots: j.Slots,
			Unresponsive: j.Unresponsive, Paused: j.Paused, Lease: lease, State: j.State},
		Liveness: j.Liveness, Dead: j.Dead, Since: j.Since,
	}, err
}
