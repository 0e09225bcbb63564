package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// bulkRequest is a command for all tasks that a filter matches.
type bulkRequest struct {
	verb   task.Verb
	query  task.Query
	opt    task.BulkOptions
	reason string
	filter json.RawMessage // as it came, for the log
}

// bulkAnswer is task.BulkResult as JSON.
type bulkAnswer struct {
	Found   int    `json:"found"`
	Done    int    `json:"done"`
	Changed int    `json:"changed"`
	KeyBusy int    `json:"keyBusy"`
	Next    string `json:"next,omitempty"`
}

// decodeBulk reads a bulk command.
func decodeBulk(b []byte) (req bulkRequest, err error) {
	m, err := members(b)
	if err != nil {
		return req, err
	}
	if err := known(m, "a bulk command", "command", "filter", "all", "dryRun", "limit", "after", "reason"); err != nil {
		return req, err
	}
	var (
		verb, after string
		all         bool
	)
	for name, into := range map[string]*bool{"all": &all, "dryRun": &req.opt.DryRun} {
		if err := truth(m, name, into); err != nil {
			return req, err
		}
	}
	if err := text(m, "command", &verb); err != nil {
		return req, err
	}
	if err := text(m, "after", &after); err != nil {
		return req, err
	}
	if err := whole(m, "limit", &req.opt.Limit); err != nil {
		return req, err
	}
	if req.opt.Limit < 0 {
		return req, problem("invalid", "limit is %d: give a number of 1 or more, or leave it out", req.opt.Limit)
	}
	if req.reason, err = readReason(m); err != nil {
		return req, err
	}
	req.verb, req.filter = task.Verb(verb), m["filter"]
	if verb == "" {
		return req, problem("invalid", `"command" is missing: give one of retry, cancel, interrupt, delete`)
	}
	if req.filter != nil {
		if req.query, err = decodeFilter(req.filter); err != nil {
			return req, err
		}
	}
	if narrow := encodeQuery(req.query); !all && (len(narrow) == 0 || len(narrow) == 1 && narrow.Has("order")) {
		return req, problem("invalid", `there is no filter: give one, or "all": true to mean every task`)
	}
	if after != "" {
		return req, decodeField(&req.query, "after", after)
	}
	return req, nil
}

// bulk applies a command to the tasks that a filter matches, for a few seconds, and answers with
// what was done and where to go on.
func (h *Handler) bulk(a *answer, r *http.Request) error {
	b, err := readBody(a, r, envelope)
	if err != nil {
		return err
	}
	req, err := decodeBulk(b)
	if err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	done, err := h.bulkFor(ctx, h.client.As(a.token, req.reason), req)
	if !req.opt.DryRun && done.Found > 0 { // even if an error has ended it
		filter := "all"
		if req.filter != nil {
			filter = string(req.filter)
		}
		h.audit(a, "tasks command", because(req.reason, "command", req.verb, "filter", filter, "found", done.Found, "done", done.Done)...)
	}
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, asJSON, bulkAnswer(done))
}

// bulkFor continues a bulk command until it is done, or has taken long enough.
func (h *Handler) bulkFor(ctx context.Context, c *task.Client, req bulkRequest) (sum task.BulkResult, err error) {
	const step = 500 // as in Bulk, so that the time is looked at between its steps
	q, sum := req.query, task.BulkResult{Next: req.query.After}
	for began := time.Now(); ; q.After = sum.Next {
		opt := task.BulkOptions{DryRun: req.opt.DryRun, Limit: step}
		if req.opt.Limit > 0 {
			opt.Limit = min(step, req.opt.Limit-sum.Found)
		}
		var done task.BulkResult
		done, err = c.Bulk(ctx, req.verb, q, &opt)
		sum = sum.Plus(done)
		if err != nil || sum.Next == "" || req.opt.Limit > 0 && sum.Found >= req.opt.Limit || time.Since(began) > bulkPatience {
			return sum, err
		}
	}
}

// Bulk applies a command to all tasks that a query matches; see [task.Client.Bulk]. It asks the
// server for one part after the other.
func (c *Client) Bulk(ctx context.Context, verb task.Verb, q task.Query, opt *task.BulkOptions) (sum task.BulkResult, err error) {
	if opt == nil {
		opt = &task.BulkOptions{}
	}
	if len(q.IDs) > 0 {
		return sum, fmt.Errorf("%w: a query of ids is for single commands", task.ErrInvalid)
	}
	q, some, err := onlyLists(q)
	if err != nil || !some {
		return sum, err
	}
	filter := encodeFilter(q)
	for sum.Next = q.After; ; {
		body := map[string]any{"command": verb, "all": true, "dryRun": opt.DryRun}
		if len(filter) > 0 {
			body["filter"] = filter
		}
		if sum.Next != "" {
			body["after"] = sum.Next
		}
		if opt.Limit > 0 {
			body["limit"] = opt.Limit - sum.Found
		}
		if c.reason != "" {
			body["reason"] = c.reason
		}
		sent, err := json.Marshal(body)
		if err != nil {
			return sum, err
		}
		var done bulkAnswer
		if _, err := c.send(ctx, http.MethodPost, "/v1/tasks/bulk", asJSON, sent, &done); err != nil {
			return sum, err
		}
		sum = sum.Plus(task.BulkResult(done))
		if opt.Step != nil {
			opt.Step(sum)
		}
		if sum.Next == "" || opt.Limit > 0 && sum.Found >= opt.Limit {
			return sum, nil
		}
	}
}

// onlyLists moves Status, Kind and Queue of a query into their lists, as the server expects them,
// and reports whether any task can match.
func onlyLists(q task.Query) (lists task.Query, some bool, err error) {
	var ok, okKinds, okQueues bool
	q.Statuses, ok = q.AllStatuses()
	q.Kinds, okKinds = q.AllKinds()
	q.Queues, okQueues = q.AllQueues()
	q.Status, q.Kind, q.Queue = "", "", ""
	for _, name := range slices.Concat(q.Kinds, q.Queues) {
		if name == "" || strings.Contains(name, ",") {
			return q, false, fmt.Errorf("%w: no kind and no queue is called %.40q", task.ErrInvalid, name)
		}
	}
	return q, ok && okKinds && okQueues, nil
}
