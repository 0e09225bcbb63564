package httpapi

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// EventType is the type of an event.
type EventType string

const (
	// EventTask: a task has a new status, or a running one has new progress.
	EventTask EventType = "task"
	// EventCounts: the numbers of tasks or the paused queues have changed. It comes at most once a
	// second, and covers changes for which there was no EventTask.
	EventCounts EventType = "counts"
	// EventReset: earlier events are no longer reliable. List everything again now; all later changes
	// follow as events. A new stream begins with it.
	EventReset EventType = "reset"
	// EventStopping: the server had its last call and the stream ends. Resume at another server, or at
	// its successor.
	EventStopping EventType = "stopping"
)

// TaskEvent is the present state of a task.
type TaskEvent struct {
	// ID to Status are the task's.
	ID     string      `json:"id"`
	Kind   string      `json:"kind"`
	Queue  string      `json:"queue"`
	Status task.Status `json:"status"`
	// Reason and Error belong to the end of a run.
	Reason task.Reason `json:"reason,omitempty"`
	Error  string      `json:"error,omitempty"`
	// Run and Worker are those of the present or last run.
	Run    int64  `json:"run,omitempty"`
	Worker string `json:"worker,omitempty"`
	// Progress is set while the task runs and has reported any.
	Progress *Progress `json:"progress,omitempty"`
	// At is when this server saw it.
	At time.Time `json:"at"`
}

const (
	// ringSize bounds the events that are kept, for streams that are slow or are resumed.
	ringSize = 4096
	// maxStreams bounds the streams of events.
	maxStreams = 256
	// remembered is how long events are kept after the last stream has ended, so that it can be
	// resumed.
	remembered = time.Minute
)

// hub keeps the last events for the streams, each of which reads at its own pace: a slow one holds
// up no other, and is reset when it has fallen too far behind. Nothing is kept while nobody
// listens.
type hub struct {
	client *task.Client
	counts *counter
	every  time.Duration
	boot   string // distinguishes the ids of this process from those of another

	mu      sync.Mutex
	ring    [ringSize]event
	first   uint64 // the oldest event in the ring
	next    uint64 // the number of the next one, from 1
	changed chan struct{}
	// newest is the number of the last event of counts. Only this one is kept: it may be large, and
	// has all that those before it had.
	newest  uint64
	streams int
	left    time.Time // when the last stream ended

	polled polled
}

// event is an event in the ring.
type event struct {
	number uint64
	kind   EventType
	task   string // its id, if it is about one
	data   []byte // nil: a newer event has replaced it
}

func newHub(c *task.Client, counts *counter, every time.Duration) *hub {
	return &hub{
		client: c, counts: counts, every: every, boot: strings.ToLower(rand.Text()[:10]),
		first: 1, next: 1, changed: make(chan struct{}),
		polled: polled{turn: make(chan struct{}, 1)},
	}
}

// join counts a stream in, unless there are too many. If nobody has listened for a while it starts
// again from the beginning.
func (h *hub) join() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams == maxStreams {
		return false
	}
	if !h.listening() {
		h.next++ // a stream that returns with the last number has missed what came since
		h.ring, h.first, h.polled.base = [ringSize]event{}, h.next, false
	}
	h.streams++
	return true
}

func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streams--
	h.left = time.Now()
}

// listening: the caller holds mu.
func (h *hub) listening() bool {
	return h.streams > 0 || !h.left.IsZero() && time.Since(h.left) < remembered
}

// listened reports whether events are wanted.
func (h *hub) listened() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listening()
}

// mark returns the number of the next event, for callers that must know which events come
// meanwhile.
func (h *hub) mark() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}

// toldSince: the caller holds mu.
func (h *hub) toldSince(mark uint64, id string) bool {
	if mark < h.first {
		return true // it is no longer known
	}
	for n := mark; n < h.next; n++ {
		if h.ring[n%ringSize].task == id {
			return true
		}
	}
	return false
}

// observe takes an event of this process's worker.
func (h *hub) observe(e task.Event) {
	if e.Stale {
		return // it did not happen
	}
	ev := eventOf(e.Task)
	ev.Status, ev.Reason, ev.Error = e.Status, e.Reason, e.Err
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.listening() {
		return
	}
	if e.Status == task.StatusRunning {
		h.polled.noteRunning(ev.ID, e.Task.Progress)
		ev.Reason, ev.Error = "", ""
	} else {
		delete(h.polled.running, ev.ID)
		ev.Progress = nil
	}
	h.tell(EventTask, ev.ID, ev)
}

// queued takes a task that was accepted here, unless its worker was faster.
func (h *hub) queued(mark uint64, n task.NewTask) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.listening() {
		return
	}
	h.polled.noteSubmitted(n.ID)
	if !h.toldSince(mark, n.ID) {
		h.tell(EventTask, n.ID, TaskEvent{ID: n.ID, Kind: n.Kind, Queue: n.Queue, Status: task.StatusQueued, At: time.Now().UTC()})
	}
}

// changedSince takes a task as the store has it, unless there is a newer event about it: what was
// read before that is old.
func (h *hub) changedSince(mark uint64, t task.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.toldSince(mark, t.ID) {
		return
	}
	if t.Status != task.StatusRunning {
		delete(h.polled.running, t.ID)
	}
	h.tell(EventTask, t.ID, eventOf(t))
}

func eventOf(t task.Task) TaskEvent {
	e := TaskEvent{ID: t.ID, Kind: t.Kind, Queue: t.Queue, Status: t.Status, Run: t.Run, Worker: t.Worker, At: time.Now().UTC()}
	if t.Status == task.StatusRunning && t.Progress != (task.Progress{}) {
		p := Progress(t.Progress)
		e.Progress = &p
	}
	if t.Status != task.StatusRunning {
		e.Reason, e.Error = t.Reason, t.Error
	}
	return e
}

// tell puts an event into the ring: the caller holds mu.
func (h *hub) tell(kind EventType, id string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		return // nothing here that does not encode
	}
	if kind == EventCounts {
		if old := &h.ring[h.newest%ringSize]; old.number == h.newest {
			old.data = nil
		}
		h.newest = h.next
	}
	h.ring[h.next%ringSize] = event{number: h.next, kind: kind, task: id, data: data}
	h.next++
	h.first = max(h.first, h.next-min(h.next, ringSize))
	close(h.changed)
	h.changed = make(chan struct{})
}

// after returns events from a number on, at most most of them, and a channel that closes when there
// are more. ok is false when some that should come first are gone.
func (h *hub) after(number uint64, most int) (events []event, changed <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if number < h.first || number > h.next {
		return nil, h.changed, false
	}
	for n := number; n < h.next && len(events) < most; n++ {
		events = append(events, h.ring[n%ringSize])
	}
	return events, h.changed, true
}

// id returns the id of an event, for clients.
func (h *hub) id(number uint64) string { return fmt.Sprintf("%s-%d", h.boot, number) }

// resume returns the number of the event that follows the named one, 0 if the name belongs to
// another process or to none.
func (h *hub) resume(last string) uint64 {
	boot, number, _ := strings.Cut(last, "-")
	n, err := strconv.ParseUint(number, 10, 63)
	if boot != h.boot || err != nil {
		return 0
	}
	return n + 1
}
