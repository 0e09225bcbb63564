//go:build !norehearse

package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

func TestPodFlags_ReadHooks(t *testing.T) {
	second, none := time.Second, time.Duration(0)
	for text, want := range map[string]rehearse.Hook{
		"sleep 5":                      {Exec: []string{"/bin/sh", "-c", "sleep 5"}},
		"curl http://127.0.0.1:80/end": {Exec: []string{"/bin/sh", "-c", "curl http://127.0.0.1:80/end"}},
		"sleep:1s":                     {Sleep: &second},
		"sleep:0s":                     {Sleep: &none},
		"http://127.0.0.1:80/end?a=b":  {HTTPGet: &rehearse.HTTPGet{Scheme: "http", Host: "127.0.0.1", Port: 80, Path: "/end?a=b"}},
	} {
		if got, err := preStopHook(text); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestPodFlags_ReadProbes(t *testing.T) {
	p := podFlags{period: 2 * time.Second}
	for text, want := range map[string]rehearse.Probe{
		"http://127.0.0.1:8080":    {HTTPGet: &rehearse.HTTPGet{Scheme: "http", Host: "127.0.0.1", Port: 8080, Path: "/"}},
		"https://localhost:8443/r": {HTTPGet: &rehearse.HTTPGet{Scheme: "https", Host: "localhost", Port: 8443, Path: "/r"}},
		"tcp://:5432":              {TCP: 5432},
		"tcp://127.0.0.1:5432":     {TCP: 5432},
		"grpc://:9090":             {GRPC: &rehearse.GRPC{Port: 9090}},
		"grpc://[::1]:9090/a.B":    {GRPC: &rehearse.GRPC{Port: 9090, Service: "a.B"}},
		"test -e ready":            {Exec: []string{"/bin/sh", "-c", "test -e ready"}},
	} {
		want.Period = p.period
		if got, err := p.probe(text); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestPodFlags_WhatCannotBeReadSaysWhy(t *testing.T) {
	for _, c := range []struct {
		flags podFlags
		want  string
	}{
		{podFlags{preStop: "sleep:5"}, "--pre-stop: \"sleep:5\" is no time to sleep, like sleep:5s"},
		{podFlags{preStop: "http://127.0.0.1/end"}, "--pre-stop: \"http://127.0.0.1/end\" has no port"},
		{podFlags{readiness: "tcp://:"}, "--readiness: \"tcp://:\" has no port"},
		{podFlags{liveness: "grpc://203.0.113.1:80"}, "--liveness: \"grpc://203.0.113.1:80\": a probe by grpc asks this machine's loopback"},
		{podFlags{startup: "http://127.0.0.1:a"}, "--startup: parse"},
	} {
		if err := c.flags.apply(new(rehearse.Config)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.flags, err, c.want)
		}
	}
}

func TestPodFlags_AreAddedToWhatAManifestSays(t *testing.T) {
	c := rehearse.Config{Sidecars: []rehearse.Container{{Name: "proxy"}}}
	c.Program.Liveness = &rehearse.Probe{TCP: 1}
	if err := (&podFlags{readiness: "tcp://:2", sidecars: []string{"cat"}}).apply(&c); err != nil {
		t.Fatal(err)
	}
	if c.Program.Liveness.TCP != 1 || c.Program.Readiness.TCP != 2 || len(c.Sidecars) != 2 || c.Sidecars[1].Command[2] != "exec cat" {
		t.Errorf("%+v", c)
	}
}
