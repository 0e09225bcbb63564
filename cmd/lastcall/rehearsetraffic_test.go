//go:build !norehearse

package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/rehearse"
)

func TestTrafficFlags_AreReadAsTheirHelpSays(t *testing.T) {
	given := trafficFlags{
		http: []string{
			"http://127.0.0.1:80/a,b?c,d", "https://127.0.0.1:80/,DELETE", `http://127.0.0.1:80/,POST,{"a": 1, "b": [2]}`, "http://127.0.0.1:80/,PUT,x,GET",
		},
		http2:     []string{"http://127.0.0.1:80/", "h2c://127.0.0.1:80/"},
		slow:      []string{"http://127.0.0.1:80/slow"},
		stream:    []string{"http://127.0.0.1:80/events"},
		webSocket: []string{"ws://127.0.0.1:80/", "http://127.0.0.1:80/", "https://127.0.0.1:80/"},
		grpc:      []string{"127.0.0.1:80", "127.0.0.1:80/shop.Orders", "grpcs://127.0.0.1:80"},
		tcp:       []string{"127.0.0.1:80", `127.0.0.1:80,PING "a\x2c b"\r\n`, "tcp://[::1]:80", `127.0.0.1:80,PING\r\n,+PONG, "x"`, "127.0.0.1:80,,220"},
	}
	want := []rehearse.Target{
		{URL: "http://127.0.0.1:80/a,b?c,d"},
		{URL: "https://127.0.0.1:80/", Method: "DELETE"},
		{URL: "http://127.0.0.1:80/", Method: "POST", Body: `{"a": 1, "b": [2]}`, Header: map[string][]string{"Content-Type": {"application/json"}}},
		{URL: "http://127.0.0.1:80/", Method: "PUT", Body: "x,GET"},
		{URL: "h2c://127.0.0.1:80/"},
		{URL: "h2c://127.0.0.1:80/"},
		{URL: "http://127.0.0.1:80/slow", Use: rehearse.Slow},
		{URL: "http://127.0.0.1:80/events", Use: rehearse.Stream},
		{URL: "ws://127.0.0.1:80/"},
		{URL: "ws://127.0.0.1:80/"},
		{URL: "wss://127.0.0.1:80/"},
		{URL: "grpc://127.0.0.1:80"},
		{URL: "grpc://127.0.0.1:80/shop.Orders"},
		{URL: "grpcs://127.0.0.1:80"},
		{URL: "tcp://127.0.0.1:80"},
		{URL: "tcp://127.0.0.1:80", Body: "PING \"a, b\"\r\n"},
		{URL: "tcp://[::1]:80"},
		{URL: "tcp://127.0.0.1:80", Body: "PING\r\n", Answer: `+PONG, "x"`},
		{URL: "tcp://127.0.0.1:80", Answer: "220"},
	}
	got, err := given.targets()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
	for _, text := range []string{`127.0.0.1:80,PING\q`, `127.0.0.1:80,PING,\q`} {
		given = trafficFlags{tcp: []string{text}}
		if _, err := given.targets(); err == nil || !strings.Contains(err.Error(), "--tcp") {
			t.Errorf("%s is not quoted: %v", text, err)
		}
	}
}
