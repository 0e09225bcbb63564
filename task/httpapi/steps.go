package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

// Step is the record of a step as JSON; see [task.StepRecord].
type Step struct {
	// Name is the step's, State how far it is, and Place its position in the order; 0 is no position.
	Name  string         `json:"name"`
	State task.StepState `json:"state"`
	Place int            `json:"place,omitempty"`
	// Version is the version of the program that recorded it, Run the run that did, and SavedAt when,
	// by the store's clock.
	Version string    `json:"version,omitempty"`
	Run     int64     `json:"run,omitempty"`
	SavedAt time.Time `json:"savedAt"`
	// Size is the number of bytes of its result or its cursor, and Body has these, if they were
	// requested. With Base64 the Body is not JSON, and is a string in base64.
	Size   int             `json:"size"`
	Body   json.RawMessage `json:"body,omitempty"`
	Base64 bool            `json:"base64,omitempty"`
}

// NewSteps returns the records of steps, without their contents.
func NewSteps(records []task.StepRecord) []Step {
	steps := make([]Step, len(records))
	for i, r := range records {
		steps[i] = Step{Name: r.Name, State: r.State, Place: r.Place, Version: r.Version, Run: r.Run, SavedAt: r.Saved.UTC(), Size: len(r.Body)}
	}
	return steps
}

// stepPage is the answer to GET /v1/tasks/{id}/steps.
type stepPage struct {
	Steps []Step `json:"steps"`
}

func (h *Handler) steps(a *answer, r *http.Request) error {
	id := r.PathValue("id")
	if err := checkTaskID(id); err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	records, err := h.client.Steps(ctx, id)
	if err != nil {
		return err
	}
	page := stepPage{Steps: NewSteps(records)}
	for i, rec := range records {
		j := &page.Steps[i]
		if j.Body = rec.Body; rec.Body != nil && !(json.Valid(rec.Body) && utf8.Valid(rec.Body)) {
			j.Base64 = true
			if j.Body, err = json.Marshal(rec.Body); err != nil {
				return err
			}
		}
	}
	return a.json(http.StatusOK, asJSON, page)
}

func (h *Handler) retry(a *answer, r *http.Request) error {
	m, reason, err := commandBody(a, r, "fromStart", "skipSteps")
	var opt task.RetryOptions
	if err == nil {
		opt, err = retryOptions(m)
	}
	return h.do(a, r, task.VerbRetry, reason, err, func(c *task.Client, ctx context.Context, id string) error { return c.Retry(ctx, id, &opt) })
}

// retryOptions reads where a retried task shall begin.
func retryOptions(m map[string]json.RawMessage) (opt task.RetryOptions, err error) {
	for name, into := range map[string]any{"fromStart": &opt.FromStart, "skipSteps": &opt.SkipSteps} {
		if raw, ok := m[name]; ok && (string(raw) == "null" || json.Unmarshal(raw, into) != nil) {
			return opt, problem("invalid", `%q is %.40s: "fromStart" is true or false, and "skipSteps" a list of names of steps`, name, raw)
		}
	}
	return opt, nil
}

// retryBody is the body of a retry.
type retryBody struct {
	Reason    string   `json:"reason,omitempty"`
	FromStart bool     `json:"fromStart,omitempty"`
	SkipSteps []string `json:"skipSteps,omitempty"`
}

// Steps returns the records of a task's steps; see [task.Client.Steps].
func (c *Client) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	var page stepPage
	if err := c.call(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id)+"/steps", &page); err != nil {
		return nil, err
	}
	var all []task.StepRecord
	for _, j := range page.Steps {
		rec := task.StepRecord{Name: j.Name, State: j.State, Place: j.Place, Version: j.Version, Run: j.Run, Saved: j.SavedAt, Body: j.Body}
		if j.Base64 {
			if err := json.Unmarshal(j.Body, &rec.Body); err != nil {
				return all, err
			}
		}
		all = append(all, rec)
	}
	return all, nil
}

// Retry makes a task run again; see [task.Client.Retry].
func (c *Client) Retry(ctx context.Context, id string, opt *task.RetryOptions) error {
	asked := retryBody{Reason: c.reason}
	if opt != nil {
		asked.FromStart, asked.SkipSteps = opt.FromStart, opt.SkipSteps
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	_, err = c.send(ctx, http.MethodPost, "/v1/tasks/"+url.PathEscape(id)+"/retry", asJSON, body, nil)
	return err
}
