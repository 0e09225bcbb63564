package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestGuard_APageInABrowserCanChangeNothing(t *testing.T) {
	s := serve(t, Config{Hosts: []string{"tasks.example"}})
	targets := map[string]string{"/v1/tasks": `{"kind": "k", "payload": 1}`, "/v1/tasks/batch": `{"kind": "k", "payload": 1}`,
		"/v1/tasks/" + someID + "/cancel": "", "/v1/queues/q/pause": ""}
	for name, c := range map[string]struct {
		change func(*http.Request)
		sort   string
	}{
		"a form":                  {set("Content-Type", "application/x-www-form-urlencoded"), "unsupported-media-type"},
		"text, sent unasked":      {set("Content-Type", "text/plain; charset=application/json"), "unsupported-media-type"},
		"compressed":              {set("Content-Encoding", "gzip"), "unsupported-media-type"},
		"no type at all":          {func(r *http.Request) { r.Header.Del("Content-Type") }, "unsupported-media-type"},
		"another site":            {set("Sec-Fetch-Site", "cross-site"), "cross-origin"},
		"another port":            {set("Sec-Fetch-Site", "same-site"), "cross-origin"},
		"an old browser":          {set("Origin", "http://example.com"), "cross-origin"},
		"a file":                  {set("Origin", "null"), "cross-origin"},
		"a name made to point us": {host("example.com:8321"), "wrong-host"},
		"a name that begins well": {host("localhost.example.com"), "wrong-host"},
		"an address of others":    {host("[::ffff:8.8.8.8]:80"), "wrong-host"},
	} {
		for target, body := range targets {
			t.Run(name+" "+target, func(t *testing.T) {
				s := *s
				s.t = t
				s.refused(s.ask("POST", target, body, c.change), c.sort, "")
			})
		}
	}
	s.refused(s.ask("GET", "/v1/tasks", "", host("example.com")), "wrong-host", "ask for 127.0.0.1 or localhost")
	s.refused(s.ask("GET", "/v1/events", "", host("example.com")), "wrong-host", "")
	if r := s.ask("GET", "/v1/tasks", ""); r.body != `{"tasks":[]}`+"\n" {
		t.Errorf("something was submitted: %s", r.body)
	}
	if r := s.ask("GET", "/v1/queues", ""); r.body != `{"queues":[]}`+"\n" {
		t.Errorf("something was paused: %s", r.body)
	}
	for _, name := range []string{"localhost:1", "LOCALHOST", "[::1]:8321", "127.0.0.2", "[::ffff:127.0.0.1]:80", "tasks.example", "Tasks.Example:443"} {
		if r := s.ask("GET", "/v1/tasks", "", host(name)); r.status != http.StatusOK {
			t.Errorf("host %s: %d %s", name, r.status, r.body)
		}
	}
	if r := s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`, set("Sec-Fetch-Site", "same-origin"), set("Content-Type", "application/json; charset=utf-8")); r.status != http.StatusCreated {
		t.Errorf("a page of our own: %d %s", r.status, r.body)
	}
}

func TestGuard_AnAnswerIsNeverInterpretedOrKeptByABrowser(t *testing.T) {
	s := serve(t, Config{})
	for _, target := range []string{"/v1/tasks", "/v1/tasks/" + someID, "/v1/none"} {
		h := s.ask("GET", target, "").header
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", target, h)
		}
	}
}

func TestGuard_WithoutTokensOnlyThisMachineIsServed(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 8321} }
	for _, c := range []struct {
		addr net.Addr
		ok   bool
	}{
		{nil, true}, {tcp("127.0.0.1"), true}, {tcp("::1"), true}, {&net.UnixAddr{Name: "/run/lastcall.sock", Net: "unix"}, true},
		{tcp("0.0.0.0"), false}, {tcp("::"), false}, {tcp("192.0.2.1"), false}, {&net.TCPAddr{Port: 8321}, false},
	} {
		_, err := New(Config{Store: memstore.New(), Addr: c.addr})
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "give a token file, or listen on 127.0.0.1") {
			t.Errorf("%v: %v", c.addr, err)
		}
	}
	tokens := openTokens(t, "all read "+strings.Repeat("s", minSecret)+"\n")
	h, err := New(Config{Store: memstore.New(), Addr: tcp("0.0.0.0"), Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.checkHost("tasks.example"); err != nil {
		t.Errorf("elsewhere the token decides, not the host: %v", err)
	}
}

func TestGuard_WhatWasAnsweredIsToldForMetrics(t *testing.T) {
	var mu sync.Mutex
	var told []string
	s := serve(t, Config{OnResponse: func(e RequestInfo) {
		mu.Lock()
		defer mu.Unlock()
		if e.Took <= 0 {
			t.Errorf("%+v took no time", e)
		}
		told = append(told, fmt.Sprint(e.Route, " ", e.Status, e.Token))
	}})
	s.ask("GET", "/v1/tasks/"+someID, "")
	s.ask("GET", "/v1/tasks?limit=3", "")
	s.ask("GET", "/v1/none", "")
	s.ask("POST", "/v1/queues/q/pause", "")
	s.ask("GET", "/v1/tasks", "", host("example.com"))
	want := "GET /v1/tasks/{id} 404, GET /v1/tasks 200,  404, POST /v1/queues/{queue}/pause 204,  421"
	until(t, "all were told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(told, ", ") == want
	})
}
