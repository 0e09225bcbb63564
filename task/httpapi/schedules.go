package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Schedule is a schedule as JSON; see [task.ScheduleInfo]. Times are UTC, and zero ones are left
// out.
type Schedule struct {
	// Name is SET/NAME.
	Name string `json:"name"`
	// Timing is the text of its times, Words describes them in words.
	Timing string `json:"timing"`
	Words  string `json:"words"`
	// Kind to Payload are those of the tasks that it makes.
	Kind     string            `json:"kind"`
	Queue    string            `json:"queue"`
	Priority int               `json:"priority"`
	Meta     map[string]string `json:"meta,omitempty"`
	Payload  json.RawMessage   `json:"payload"`
	// StartBefore is how long such a task may wait for its first claim.
	StartBefore string `json:"startBefore,omitempty"`
	// Jitter is how much a task is delayed at most.
	Jitter    string       `json:"jitter,omitempty"`
	Missed    task.Missed  `json:"missed"`
	MaxMissed int          `json:"maxMissed"`
	Overlap   task.Overlap `json:"overlap"`
	// Paused: its ticks make nothing.
	Paused bool `json:"paused"`
	// Next is the next tick, Last the last one that made a task, LastTask the last task.
	Next     time.Time `json:"next,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	LastTask string    `json:"lastTask,omitempty"`
}

// schedulePage is an answer to GET /v1/schedules.
type schedulePage struct {
	Schedules []Schedule `json:"schedules"`
	// Next is the after of the next page, empty when there is none.
	Next string `json:"next,omitempty"`
}

// NewSchedule returns a schedule as this API writes it.
func NewSchedule(s task.ScheduleInfo) Schedule {
	j := Schedule{Name: s.Name, Timing: s.Timing, Words: s.Words, Kind: s.Task.Kind, Queue: s.Task.Queue, Priority: s.Task.Priority, Meta: s.Task.Meta,
		Payload: s.Task.Payload, Missed: s.Missed, MaxMissed: s.MaxMissed, Overlap: s.Overlap, Paused: s.Paused, Next: s.Next.UTC(), Last: s.Last.UTC(), LastTask: s.LastTask}
	if s.Jitter > 0 {
		j.Jitter = s.Jitter.String()
	}
	if s.Task.StartBefore > 0 {
		j.StartBefore = s.Task.StartBefore.String()
	}
	return j
}

// info converts a Schedule back.
func (j Schedule) info() (s task.ScheduleInfo, err error) {
	s = task.ScheduleInfo{Name: j.Name, Timing: j.Timing, Words: j.Words,
		Task:   task.NewTask{Kind: j.Kind, Queue: j.Queue, Priority: j.Priority, Meta: j.Meta, Payload: j.Payload},
		Missed: j.Missed, MaxMissed: j.MaxMissed, Overlap: j.Overlap, Paused: j.Paused, Next: j.Next, Last: j.Last, LastTask: j.LastTask}
	if j.Jitter != "" {
		s.Jitter, err = time.ParseDuration(j.Jitter)
	}
	if j.StartBefore != "" && err == nil {
		s.Task.StartBefore, err = time.ParseDuration(j.StartBefore)
	}
	return s, err
}

// schedules lists schedules.
func (h *Handler) schedules(a *answer, r *http.Request) error {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem("invalid", "the query is not understood: %v", err)
	}
	q, err := decodeScheduleQuery(v)
	if err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	found, err := h.client.Schedules(ctx, q)
	if err != nil {
		return err
	}
	p := schedulePage{Schedules: make([]Schedule, len(found))}
	for i, s := range found {
		p.Schedules[i] = NewSchedule(s)
	}
	if len(found) == q.Limit {
		p.Next = found[len(found)-1].Name
	}
	return a.json(http.StatusOK, asJSON, p)
}

func decodeScheduleQuery(v url.Values) (task.ScheduleQuery, error) {
	q := task.ScheduleQuery{Limit: defaultPage}
	for name, values := range v {
		if len(values) != 1 {
			return q, problem("invalid", "%.40q is given %d times: give it once", name, len(values))
		}
		given := values[0]
		if given == "" {
			continue
		}
		var err error
		switch name {
		case "set":
			_, _, err = task.SplitSchedule(given + "/x") // a name like any other
			q.Set = given
		case "after":
			q.AfterSet, q.AfterName, err = task.SplitSchedule(given)
		case "limit":
			if q.Limit, err = strconv.Atoi(given); err != nil || q.Limit < 1 || q.Limit > maxPage {
				return q, problem("invalid", "limit is %.40q: use a number from 1 to %d", given, maxPage)
			}
		default:
			return q, problem("invalid", "unknown %.40q in the query: use set, limit and after", name)
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

// steerSchedule is a route that applies a command to a schedule.
func (h *Handler) steerSchedule(verb task.Verb, ask func(*task.Client, context.Context, string) error) endpoint {
	return func(a *answer, r *http.Request) error {
		return h.askSchedule(a, r, string(verb), func(ctx context.Context, c *task.Client, name string) error {
			if err := ask(c, ctx, name); err != nil {
				return err
			}
			a.WriteHeader(http.StatusNoContent)
			return nil
		})
	}
}

// askSchedule applies a command to the schedule of a path.
func (h *Handler) askSchedule(a *answer, r *http.Request, verb string, do func(context.Context, *task.Client, string) error) error {
	_, reason, err := commandBody(a, r)
	if err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	name := r.PathValue("set") + "/" + r.PathValue("schedule")
	if err := do(ctx, h.client.As(a.token, reason), name); err != nil {
		return err
	}
	h.audit(a, "schedule command", because(reason, "schedule", name, "command", verb)...)
	return nil
}

// runSchedule makes the task of a schedule now.
func (h *Handler) runSchedule(a *answer, r *http.Request) error {
	return h.askSchedule(a, r, "run", func(ctx context.Context, c *task.Client, name string) error {
		done, err := c.RunSchedule(ctx, name)
		if err != nil {
			return err
		}
		a.Header().Set("Location", "/v1/tasks/"+done.ID)
		status := http.StatusCreated
		if done.Outcome == task.OutcomeExisting {
			status = http.StatusOK
		}
		return a.json(status, asJSON, submitted{ID: done.ID, Outcome: done.Outcome})
	})
}

// Schedules lists schedules; see [task.Client.Schedules].
func (c *Client) Schedules(ctx context.Context, q task.ScheduleQuery) ([]task.ScheduleInfo, error) {
	var all []task.ScheduleInfo
	for want := cmp.Or(q.Limit, defaultPage); want > 0; {
		v := url.Values{"limit": {strconv.Itoa(min(want, maxPage))}}
		if q.Set != "" {
			v.Set("set", q.Set)
		}
		if q.AfterSet != "" {
			v.Set("after", q.AfterSet+"/"+q.AfterName)
		}
		var p schedulePage
		if err := c.call(ctx, http.MethodGet, "/v1/schedules?"+v.Encode(), &p); err != nil {
			return all, err
		}
		for _, j := range p.Schedules {
			_, name, _ := strings.Cut(j.Name, "/")
			if q.Name != "" && q.Name != name {
				continue
			}
			s, err := j.info()
			if err != nil {
				return all, err
			}
			all = append(all, s)
			want--
		}
		if p.Next == "" {
			break
		}
		q.AfterSet, q.AfterName, _ = strings.Cut(p.Next, "/")
	}
	return all, nil
}

// PauseSchedule stops a schedule's ticks from making tasks; see [task.Client.PauseSchedule].
func (c *Client) PauseSchedule(ctx context.Context, name string) error {
	return c.askSchedule(ctx, name, "pause", nil)
}

// ResumeSchedule ends a PauseSchedule.
func (c *Client) ResumeSchedule(ctx context.Context, name string) error {
	return c.askSchedule(ctx, name, "resume", nil)
}

// RunSchedule makes the task of a schedule now; see [task.Client.RunSchedule].
func (c *Client) RunSchedule(ctx context.Context, name string) (task.EnqueueResult, error) {
	var j submitted
	err := c.askSchedule(ctx, name, "run", &j)
	return task.EnqueueResult{ID: j.ID, Outcome: j.Outcome}, err
}

func (c *Client) askSchedule(ctx context.Context, name, verb string, into any) error {
	set, schedule, err := task.SplitSchedule(name)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, "/v1/schedules/"+url.PathEscape(set)+"/"+url.PathEscape(schedule)+"/"+verb, into)
}
