// Package gitlabtest is a faithful fake of the part of GitLab that jobgate talks to: the job API with which a CI job
// token is looked up, and the few project endpoints that teach the facts the lookup leaves out.
//
// A test describes one as an Instance value, starts a Server with it and changes it with Server.Update; the production
// client then talks real HTTP to it. Oddities of GitLab are reproduced on purpose (environment patterns are unanchored,
// a licence that lapses changes access silently, every dead token gets the same 401), because they are what a client
// must survive. Comments name the GitLab source file a rule was read from; "deduced" marks what follows from that code
// without being stated. Faults bring what GitLab does when it is unwell.
//
// The package knows GitLab alone. It must not know jobgate's configuration, Kubernetes, or any type of the production
// client: sharing code with what it tests would hide the mistakes both make.
package gitlabtest
