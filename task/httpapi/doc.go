// Package httpapi serves the tasks of a store over HTTP, for programs in any language, and has the
// Go client of that API.
//
// [New] returns the handler, and [NewServer] a server with limits for it. [ProbeHandler] is a
// handler for a platform that asks only whether the process lives and is ready. [Client] has the
// methods of [task.Client] with the same types and errors, so that code can be written for either.
// The API itself is described by the OpenAPI document at /v1/openapi.json, and for people in
// docs/http.md.
//
// # What is promised
//
// An answer of 200 or 201 to a submit means that the task survives the process. A submit with an id
// may be sent again after any other answer, and after none: it creates no second task. A kind that
// no worker knows is accepted, since the worker may come with the next deploy; the answer then says
// so in waitsFor.
//
// Reading and submitting go on during a drain, until the listener has closed. Streams of events end
// at last call, and their clients resume at another server.
//
// # Who may send requests
//
// A page in a browser on this machine can send requests anywhere, and a task can be a program to
// run. So even on loopback, where no token is needed, a request that changes something must meet
// three conditions:
//
//   - Its Content-Type is application/json, which no page may send to another origin without
//     permission.
//   - It does not come from another origin.
//   - Its Host is a name of this machine, so that a foreign name that was made to point here is
//     refused.
//
// On any other address [Tokens] are required: [New] returns an error without them.
//
// # What is not promised
//
// Events report what this process sees: changes by its own worker and this API at once, and changes
// by others by polling the store once a second. A change that is over between two polls shows only
// in the counts. The number of requests of one client is not limited.
package httpapi
