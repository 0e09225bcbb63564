package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/lastcall-go/lastcall/task"
)

// Question is the payload: the question that a task answers.
type Question struct{ Text string }

// research may be killed as often as the platform likes: a crash is no reason to fail the task.
var research = task.Kind[Question]{Name: "research", MaxCrashes: -1}

// agent asks a model.
type agent struct{ model string }

// work makes a plan, works on each part of it, and sums up. A later run does not repeat calls that
// were answered. After SIGTERM the call that is under way is finished, and no other begins.
func (a *agent) work(ctx context.Context, r *task.Run, q Question) error {
	plan, err := a.ask(ctx, r, "plan", "Split this into parts: "+q.Text)
	if err != nil {
		return err
	}
	var found []string
	for i, part := range strings.Split(plan, "; ") {
		r.SetProgress(float64(i)/float64(strings.Count(plan, ";")+2), part)
		one, err := a.ask(ctx, r, fmt.Sprint("part-", i+1), part)
		if err != nil {
			return err
		}
		found = append(found, one)
	}
	sum, err := a.ask(ctx, r, "sum", "Sum up: "+strings.Join(found, ", "))
	if err != nil {
		return err
	}
	return r.SetResult(sum)
}

// ask makes one call, which is a step. The request has an idempotency key, so with a model that
// supports these not even the call that was under way is paid twice.
func (a *agent) ask(ctx context.Context, r *task.Run, name, prompt string) (string, error) {
	return task.Step(ctx, r, name, func(ctx context.Context) (string, error) {
		return a.call(ctx, r.ID()+"/"+name, prompt)
	})
}

func (a *agent) call(ctx context.Context, key, prompt string) (string, error) {
	body, err := json.Marshal(map[string]string{"prompt": prompt})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.model+"/v1/answers", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var said struct{ Answer string }
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the model answered %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return "", fmt.Errorf("the answer of the model: %w", err)
	}
	return said.Answer, nil
}

// id is the id of a question's task, a UUID of version 8.
func id(question string) string {
	sum := sha256.Sum256([]byte(question))
	sum[6], sum[8] = 0x80|sum[6]&0x0f, 0x80|sum[8]&0x3f
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
