//go:build !norehearse

package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/rehearse"
)

// trafficFlags are the addresses that clients request from a rehearsed program.
type trafficFlags struct{ http, http2, slow, stream, webSocket, grpc, tcp []string }

// flags adds the flags.
func (t *trafficFlags) flags(f *pflag.FlagSet) {
	for _, one := range []struct {
		to         *[]string
		name, what string
	}{
		{&t.http, "http", "URL[,METHOD[,BODY]] that clients request, and that answers when the program is ready"},
		{&t.http2, "http2", "the same with HTTP/2 without TLS"},
		{&t.slow, "slow", "URL[,METHOD[,BODY]] that takes a second or more to answer: three requests for it are in flight at the signal"},
		{&t.stream, "stream", "URL[,METHOD[,BODY]] whose answer does not end, as Server-Sent Events do"},
		{&t.webSocket, "websocket", "URL of a WebSocket, on which clients stay connected"},
		{&t.grpc, "grpc", "HOST:PORT[/SERVICE] whose health is checked and watched with gRPC"},
		{&t.tcp, "tcp", `HOST:PORT[,TEXT[,ANSWER]] to which clients connect and send TEXT, and what a right answer begins with, quoted as in Go: 127.0.0.1:6379,PING\r\n,+PONG`},
	} {
		f.StringArrayVar(one.to, one.name, nil, one.what+"; may be given several times")
	}
}

// targets returns a target for each address that was given. It skips empty addresses.
func (t *trafficFlags) targets() (targets []rehearse.Target, err error) {
	for _, one := range []struct {
		texts []string
		use   rehearse.Use
		// schemes maps the scheme of a given address to the one that replaces it.
		schemes map[string]string
	}{
		{t.http, rehearse.Ask, nil},
		{t.http2, rehearse.Ask, map[string]string{"http": "h2c"}},
		{t.slow, rehearse.Slow, nil},
		{t.stream, rehearse.Stream, nil},
		{t.webSocket, rehearse.Ask, map[string]string{"http": "ws", "https": "wss"}},
	} {
		for _, text := range one.texts {
			if text == "" {
				continue
			}
			target := httpTarget(text, one.use)
			scheme, rest, _ := strings.Cut(target.URL, ":")
			if other := one.schemes[scheme]; other != "" {
				target.URL = other + ":" + rest
			}
			targets = append(targets, target)
		}
	}
	for _, text := range t.grpc {
		targets = append(targets, rehearse.Target{URL: withScheme("grpc", text)})
	}
	for _, text := range t.tcp {
		parts := strings.SplitN(text, ",", 3)
		target := rehearse.Target{URL: withScheme("tcp", parts[0])}
		for i, to := range []*string{&target.Body, &target.Answer}[:len(parts)-1] {
			if *to, err = strconv.Unquote(`"` + strings.ReplaceAll(parts[i+1], `"`, `\"`) + `"`); err != nil {
				return nil, usageError{fmt.Errorf("--tcp %q: %q is not quoted as in Go, as PING\\r\\n is: %w", text, parts[i+1], err)}
			}
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// withScheme adds a scheme to an address that has none.
func withScheme(scheme, address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return scheme + "://" + address
}

// method finds the first comma that a method follows: an address may contain commas too.
var method = regexp.MustCompile(`^(.*?),([A-Z]+)(?:,(.*))?$`)

// httpTarget parses URL[,METHOD[,BODY]].
func httpTarget(text string, use rehearse.Use) rehearse.Target {
	parts := method.FindStringSubmatch(text)
	if parts == nil {
		return rehearse.Target{URL: text, Use: use}
	}
	target := rehearse.Target{URL: parts[1], Use: use, Method: parts[2], Body: parts[3]}
	if trimmed := strings.TrimSpace(target.Body); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		target.Header = map[string][]string{"Content-Type": {"application/json"}}
	}
	return target
}
