package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(namespace, name, address string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		}}},
		Status: corev1.PodStatus{PodIP: address, Phase: corev1.PodRunning},
	}
}

func cluster(policies ...*networkingv1.NetworkPolicy) world {
	return world{
		pods:       []*corev1.Pod{pod("bank", "judge", "10.0.0.1"), pod("bank", "web", "10.0.0.2"), pod("shop", "web", "10.0.0.3")},
		namespaces: map[string]labels.Set{"bank": {"team": "a"}, "shop": {"team": "b"}},
		policies:   policies,
	}
}

func policy(selected string, types []networkingv1.PolicyType) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "policy"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": selected}},
			PolicyTypes: types,
		},
	}
}

var (
	outward = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	inward  = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
)

// chain gives the lines of the only chain of its kind.
func chain(t *testing.T, w world, prefix string) []string {
	t.Helper()
	chains, err := w.chains()
	if err != nil {
		t.Fatal(err)
	}
	var result []string
	for name, lines := range chains {
		if strings.HasPrefix(name, prefix) {
			if result != nil {
				t.Fatalf("two chains begin with %s", prefix)
			}
			result = lines
		}
	}
	return result
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestWithoutPoliciesNothingIsHeld(t *testing.T) {
	expect(t, chain(t, cluster(), entry), "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN")
}

func TestAPolicyWithoutRulesAllowsNothing(t *testing.T) {
	w := cluster(policy("judge", outward))
	expect(t, chain(t, w, egress.prefix), "-d 10.0.0.1 -j RETURN", "-j DROP")
	expect(t, chain(t, w, ingress.prefix))
	jump := chain(t, w, entry)[1]
	if !strings.HasPrefix(jump, "-s 10.0.0.1 -j "+egress.prefix) {
		t.Errorf("the Pod's packets go to %q", jump)
	}
}

func TestPeersAndPorts(t *testing.T) {
	udp, last := corev1.ProtocolUDP, int32(99)
	number, name := intstr.FromInt32(53), intstr.FromString("http")
	given := policy("judge", outward)
	given.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}, Ports: []networkingv1.NetworkPolicyPort{{Port: &name}}},
		{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}}}},
		{Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: &number, EndPort: &last}}},
	}
	expect(t, chain(t, cluster(given), egress.prefix),
		"-d 10.0.0.1 -j RETURN",
		"-d 10.0.0.1/32 -p tcp --dport 8080 -j RETURN",
		"-d 10.0.0.2/32 -p tcp --dport 8080 -j RETURN",
		"-d 10.0.0.3/32 -j RETURN",
		"-d 0.0.0.0/0 -p udp --dport 53:99 -j RETURN",
		"-j DROP")
}

func TestIngressLooksAtTheSender(t *testing.T) {
	name := intstr.FromString("http")
	given := policy("web", inward)
	given.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
		From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "judge"}}}},
		Ports: []networkingv1.NetworkPolicyPort{{Port: &name}},
	}}
	expect(t, chain(t, cluster(given), ingress.prefix),
		"-s 10.0.0.2 -j RETURN", "-s 10.0.0.1/32 -p tcp --dport 8080 -j RETURN", "-j DROP")
}

func TestEndedPodsAndTheNodesOwnAreLeftOut(t *testing.T) {
	w := cluster(policy("judge", outward))
	w.pods[0].Status.Phase = corev1.PodSucceeded
	expect(t, chain(t, w, egress.prefix))
	w.pods[0].Status.Phase, w.pods[0].Spec.HostNetwork = corev1.PodRunning, true
	expect(t, chain(t, w, egress.prefix))
}

func TestAddressBlocksAndTheirExceptions(t *testing.T) {
	for _, each := range []struct {
		cidr   string
		except []string
		want   string
	}{
		{"10.0.0.0/8", nil, "[10.0.0.0/8]"},
		{"10.0.0.0/30", []string{"10.0.0.1/32"}, "[10.0.0.0/32 10.0.0.2/31]"},
		{"0.0.0.0/0", []string{"0.0.0.0/1"}, "[128.0.0.0/1]"},
		{"10.0.0.0/31", []string{"10.0.0.0/32", "10.0.0.1/32"}, "[]"},
		{"fd00::/8", nil, "[]"},
	} {
		got, err := block(&networkingv1.IPBlock{CIDR: each.cidr, Except: each.except})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != each.want {
			t.Errorf("%s but %v: got %v, want %s", each.cidr, each.except, got, each.want)
		}
	}
	// Every address is covered exactly when it is in the block and in no exception.
	whole, hole := netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.0.32/28")
	covered := without(whole, hole)
	for address := whole.Addr(); whole.Contains(address); address = address.Next() {
		in := slices.ContainsFunc(covered, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
		if in == hole.Contains(address) {
			t.Errorf("%s is covered: %v", address, in)
		}
	}
}

func TestTheScriptReplacesOldChains(t *testing.T) {
	old := map[string][]string{entry: nil, "MANDATE-E-1": nil}
	new := map[string][]string{entry: {"-s 10.0.0.1 -j MANDATE-E-2"}, "MANDATE-E-2": {"-j DROP"}}
	want := `*filter
:MANDATE-E-1 - [0:0]
:MANDATE-E-2 - [0:0]
:MANDATE-POLICY - [0:0]
-A MANDATE-E-2 -j DROP
-A MANDATE-POLICY -s 10.0.0.1 -j MANDATE-E-2
-X MANDATE-E-1
COMMIT
`
	if got := script(old, new); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
