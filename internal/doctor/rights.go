package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// commonRights are what most deployments do.
func commonRights(namespace string) []Right {
	rights := []Right{
		{Verb: "get", Resource: "pods"},
		{Verb: "list", Resource: "pods"},
		{Verb: "create", Group: "apps", Resource: "deployments"},
		{Verb: "update", Group: "apps", Resource: "deployments"},
		{Verb: "patch", Group: "apps", Resource: "deployments"},
		{Verb: "create", Resource: "services"},
		{Verb: "create", Resource: "configmaps"},
		{Verb: "get", Resource: "secrets"},
		{Verb: "create", Resource: "secrets"},
	}
	for i := range rights {
		rights[i].Namespace = namespace
	}
	return rights
}

// String is the right in the form of kubectl auth can-i.
func (r *Right) String() string {
	if r.Group == "" {
		return r.Verb + " " + r.Resource
	}
	return r.Verb + " " + r.Resource + "." + r.Group
}

// checkRights asks what the job may do in its namespace.
func (e *examination) checkRights(ctx context.Context) Finding {
	f := Finding{Name: "rights"}
	if e.api == nil {
		return f.NotChecked("the API server has not said who the job is")
	}
	namespace := cmp.Or(e.Namespace, e.subject.namespace, defaultNamespace)
	for _, right := range commonRights(namespace) {
		status, err := e.api.mayI(ctx, authorizationv1.ResourceAttributes{
			Verb: right.Verb, Group: right.Group, Resource: right.Resource, Namespace: namespace,
		})
		if err != nil {
			what, do := e.explainAPI(err)
			return f.Warned(fmt.Sprintf("it is unknown whether the job may %s: %s", &right, what), do)
		}
		right.Allowed, right.Reason = status.Allowed, e.line(status.Reason)
		e.report.Rights = append(e.report.Rights, right)
	}
	return e.summarize(f, namespace)
}

// summarize lists the rights. Only the author knows which of them the job needs, so only a job that may do nothing, or that
// jobgate denies something, gets a warning.
func (e *examination) summarize(f Finding, namespace string) Finding {
	var may, mayNot, reasons []string
	denied := make(map[string][]string) // the rights that jobgate denies, by its reason
	for _, r := range e.report.Rights {
		if r.Allowed {
			may = append(may, r.String())
			continue
		}
		mayNot = append(mayNot, r.String())
		if strings.HasPrefix(r.Reason, jobgateSays) {
			if denied[r.Reason] == nil {
				reasons = append(reasons, r.Reason)
			}
			denied[r.Reason] = append(denied[r.Reason], r.String())
		}
	}
	for _, reason := range reasons {
		f.Details = append(f.Details, fmt.Sprintf("%s: %s", strings.Join(denied[reason], ", "), reason))
	}
	what := fmt.Sprintf("in namespace %s the job may %s", e.quote(namespace), orNothing(may))
	if len(mayNot) > 0 {
		what += "; it may not " + strings.Join(mayNot, ", ")
	}
	switch {
	case len(reasons) > 0:
		return f.Warned(what, "if the job needs one of these, do what the reason says; docs/troubleshooting.md explains each one")
	case len(may) == 0:
		return f.Warned(what, "if the job works in another namespace, give --namespace; otherwise "+askAdmin+
			"a RoleBinding in this one for the user or a group above")
	default:
		return f.Well(what)
	}
}

func orNothing(rights []string) string {
	if len(rights) == 0 {
		return "do none of the things that most deployments do"
	}
	return strings.Join(rights, ", ")
}
