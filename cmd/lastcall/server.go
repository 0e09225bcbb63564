package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// server is a backend that asks a running lastcall serve.
type server struct {
	base string
	http *http.Client
}

func newServer(address string) (*server, error) {
	if address == "" {
		address = "http://" + defaultListen
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q is not understood: write it as http://%s", address, defaultListen)
	}
	return &server{base: strings.TrimSuffix(address, "/"), http: &http.Client{Timeout: 30 * time.Second}}, nil
}

func (s *server) submit(ctx context.Context, sub submission) (t taskJSON, existed bool, err error) {
	if !json.Valid(sub.Payload) {
		return t, false, fmt.Errorf("%w: the payload is not JSON", task.ErrInvalid)
	}
	body, err := json.Marshal(sub)
	if err != nil {
		return t, false, err
	}
	status, err := s.call(ctx, http.MethodPost, "/v1/tasks", bytes.NewReader(body), &t)
	return t, status == http.StatusOK, err
}

func (s *server) find(ctx context.Context, q task.Query) ([]taskJSON, error) {
	v := url.Values{}
	for key, value := range map[string]string{"status": string(q.Status), "kind": q.Kind, "after": q.After} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page pageJSON
	_, err := s.call(ctx, http.MethodGet, "/v1/tasks?"+v.Encode(), nil, &page)
	return page.Tasks, err
}

func (s *server) show(ctx context.Context, id string) (t taskJSON, err error) {
	_, err = s.call(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id), nil, &t)
	return t, err
}

func (s *server) close() error {
	s.http.CloseIdleConnections()
	return nil
}

// call sends a request and decodes the answer, or the problem that it tells.
func (s *server) call(ctx context.Context, method, path string, body io.Reader, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, body)
	if err != nil {
		return 0, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w: is \"lastcall serve\" running there? (--server chooses another address, --store works without a server)", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode >= 300 {
		var p problem
		if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&p); err != nil || p.Detail == "" {
			return resp.StatusCode, fmt.Errorf("%s answered %s: is that a lastcall server?", s.base, resp.Status)
		}
		return resp.StatusCode, errors.New(p.Detail)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return resp.StatusCode, fmt.Errorf("%s: the answer is not understood: %w", s.base, err)
	}
	return resp.StatusCode, nil
}
