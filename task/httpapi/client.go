package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// ClientConfig names the server and how to reach it. Only Server is required.
type ClientConfig struct {
	// Server is its address, such as http://127.0.0.1:8321.
	Server string
	// Token is the secret to send, if the server requires one.
	Token string
	// HTTP sends the requests. Its Timeout should be 0, because streams have no end; other calls are
	// bounded by 30 s anyway. Nil means an http.Client of its own, which does not follow redirects.
	HTTP *http.Client
}

// Client is the client of a server. It has the methods of [task.Client], with the same types and
// errors. An error of the server is a [*Problem], and matches [task.ErrNotFound] and the others
// with errors.Is. Fields that the HTTP API does not return are zero: limits and streaks of a task,
// and what lists leave out. A Client is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
	waits *task.Client // shares the reads of all waiters

	reason string // of commands
}

const (
	callPatience = 30 * time.Second
	// maxAnswer bounds how much of an answer is read: a page of the largest tasks.
	maxAnswer = 64 << 20
)

// NewClient returns a client of a server, which need not be running yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(cfg.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("httpapi: the server's address is not understood: write it as http://127.0.0.1:8321") // it may hold a secret
	}
	c := &Client{base: strings.TrimSuffix(cfg.Server, "/"), token: cfg.Token, http: cfg.HTTP}
	if c.http == nil {
		transport := http.DefaultTransport
		if t, ok := transport.(*http.Transport); ok {
			t = t.Clone()
			t.MaxIdleConnsPerHost = 64 // there is one host
			transport = t
		}
		c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	c.waits = task.NewClient(ends{client: c})
	return c, nil
}

// Close closes connections that are idle.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Get returns a task, or task.ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (task.Task, error) {
	j, err := c.show(ctx, id)
	if err != nil {
		return task.Task{}, err
	}
	return j.task()
}

// History returns the newest runs of a task, the oldest first.
func (c *Client) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	j, err := c.show(ctx, id)
	if err != nil {
		return nil, err
	}
	runs := make([]task.RunRecord, len(j.History))
	for i, r := range j.History {
		runs[i] = r.record()
	}
	return runs, nil
}

func (c *Client) show(ctx context.Context, id string) (j Task, err error) {
	return j, c.call(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id), &j)
}

// Find returns the tasks that a query matches, in its order, without their payloads, checkpoints
// and results; see [task.Client.Find]. It accepts up to 100 ids.
func (c *Client) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	var all []task.Task
	for want := cmp.Or(q.Limit, defaultPage); ; {
		q.Limit = min(want-len(all), maxPage)
		p, err := c.List(ctx, q)
		all = append(all, p.Tasks...)
		if err != nil || p.Next == "" || len(all) >= want {
			return all, err
		}
		q.After = p.Next
	}
}

// List returns a part of the tasks that a query matches, and where to go on; see
// [task.Client.List]. It returns at most 1000 tasks.
func (c *Client) List(ctx context.Context, q task.Query) (task.Page, error) {
	limit := min(cmp.Or(q.Limit, defaultPage), maxPage)
	q, some, err := onlyLists(q)
	if err != nil || !some {
		return task.Page{}, err
	}
	v := encodeQuery(q)
	v.Set("limit", strconv.Itoa(limit))
	if q.After != "" {
		v.Set("after", q.After)
	}
	var p page
	if err := c.call(ctx, http.MethodGet, "/v1/tasks?"+v.Encode(), &p); err != nil {
		return task.Page{}, err
	}
	found := task.Page{Next: p.Next}
	for _, j := range p.Tasks {
		t, err := j.task()
		if err != nil {
			return task.Page{}, err
		}
		found.Tasks = append(found.Tasks, t)
	}
	return found, nil
}

// WithReason returns a copy of the client whose commands give a reason, which is kept in the
// history of each task, with the name of the token.
func (c *Client) WithReason(reason string) *Client {
	with := *c
	with.reason = reason
	return &with
}

// Commands returns the commands that people have given for a task; see [task.Client.Commands].
func (c *Client) Commands(ctx context.Context, id string) ([]task.CommandRecord, error) {
	j, err := c.show(ctx, id)
	if err != nil {
		return nil, err
	}
	all := make([]task.CommandRecord, len(j.Commands))
	for i, r := range j.Commands {
		all[i] = task.CommandRecord{Verb: r.Command, At: r.At, By: r.By, Reason: r.Reason}
	}
	return all, nil
}

// Count counts the tasks, and names the paused queues.
func (c *Client) Count(ctx context.Context) (task.Counts, error) {
	var j counts
	err := c.call(ctx, http.MethodGet, "/v1/counts", &j)
	return j.counts(), err
}

// Log returns the last part of what a task's runs have logged.
func (c *Client) Log(ctx context.Context, id string) ([]byte, error) {
	var b []byte
	return b, c.call(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id)+"/log", &b)
}

// Workers lists the workers that are registered now.
func (c *Client) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	var j struct{ Workers []worker }
	if err := c.call(ctx, http.MethodGet, "/v1/workers", &j); err != nil {
		return nil, err
	}
	all := make([]task.WorkerInfo, len(j.Workers))
	for i, w := range j.Workers {
		var err error
		if all[i], err = w.info(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Cancel ends a task; see [task.Client.Cancel].
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.ask(ctx, "tasks", id, "cancel")
}

// Interrupt makes a running task hand over; see [task.Client.Interrupt].
func (c *Client) Interrupt(ctx context.Context, id string) error {
	return c.ask(ctx, "tasks", id, "interrupt")
}

// Pause keeps the tasks of a queue from being claimed; see [task.Client.Pause].
func (c *Client) Pause(ctx context.Context, queue string, opt *task.PauseOptions) error {
	if opt == nil || !opt.Running {
		return c.ask(ctx, "queues", queue, "pause")
	}
	_, err := c.send(ctx, http.MethodPost, "/v1/queues/"+url.PathEscape(queue)+"/pause", asJSON, []byte(`{"running":true}`), nil)
	return err
}

// Resume ends a Pause.
func (c *Client) Resume(ctx context.Context, queue string) error {
	return c.ask(ctx, "queues", queue, "resume")
}

// Delete removes a task that has ended; see [task.Client.Delete].
func (c *Client) Delete(ctx context.Context, id string) error {
	path := "/v1/tasks/" + url.PathEscape(id)
	if c.reason != "" {
		path += "?" + url.Values{"reason": {c.reason}}.Encode()
	}
	return c.call(ctx, http.MethodDelete, path, nil)
}

func (c *Client) ask(ctx context.Context, what, name, verb string) error {
	var body []byte
	if c.reason != "" {
		var err error
		if body, err = json.Marshal(map[string]string{"reason": c.reason}); err != nil {
			return err
		}
	}
	_, err := c.send(ctx, http.MethodPost, "/v1/"+what+"/"+url.PathEscape(name)+"/"+verb, asJSON, body, nil)
	return err
}

// call sends a request without a body and decodes the answer.
func (c *Client) call(ctx context.Context, method, path string, into any) error {
	media := ""
	if method == http.MethodPost {
		media = asJSON
	}
	_, err := c.send(ctx, method, path, media, nil, into)
	return err
}

// send sends a request, reads the answer, and returns the status. The answer is decoded into the
// given value, or stored in it if that is bytes.
func (c *Client) send(ctx context.Context, method, path, media string, body []byte, into any) (status int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callPatience, fmt.Errorf("no answer within %v", callPatience))
	defer cancel()
	resp, err := c.open(ctx, method, path, media, body, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return resp.StatusCode, fmt.Errorf("%s: the answer cannot be read: %w", c.base, err)
	}
	switch into := into.(type) {
	case nil:
	case *[]byte:
		*into = b
	default:
		if err := json.Unmarshal(b, into); err != nil {
			return resp.StatusCode, fmt.Errorf("%s: the answer is not understood: is that a lastcall server? %w", c.base, err)
		}
	}
	return resp.StatusCode, nil
}

// open sends a request and returns the answer, if its status is a success, to be read and closed.
func (c *Client) open(ctx context.Context, method, path, media string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if method == http.MethodPost {
		// Every request may be sent twice, and with this header net/http does so when a kept connection
		// turns out to be closed.
		req.Header["Idempotency-Key"] = nil
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", c.base, cause)
		}
		return nil, fmt.Errorf("%w: is \"lastcall serve\" running there?", err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refused(resp)
}

// refused returns the error of an answer whose status is not a success.
func (c *Client) refused(resp *http.Response) error {
	var p Problem
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && media == "application/problem+json" &&
		json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&p) == nil && p.Type != "" {
		return &p
	}
	return fmt.Errorf("%s answered %s, and no lastcall server does that: is there another program, or a proxy in between?", c.base, resp.Status)
}
