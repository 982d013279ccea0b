{{- /* The name that everything namespaced is called after. */ -}}
{{- define "mandate.fullname" -}}
{{- printf "%s-controller" (.Release.Name | trunc 50 | trimSuffix "-") -}}
{{- end -}}

{{- define "mandate.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "mandate.fullname" .) -}}
{{- end -}}

{{- /* Whom the admission policies know as the operator. */ -}}
{{- define "mandate.operatorUsername" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "mandate.serviceAccountName" . }}
{{- end -}}

{{- define "mandate.selectorLabels" -}}
app.kubernetes.io/name: mandate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "mandate.labels" -}}
{{ include "mandate.selectorLabels" . }}
app.kubernetes.io/part-of: mandate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* Call with (dict "root" $ "image" "judge"): the image by digest. */ -}}
{{- define "mandate.image" -}}
{{- $image := index .root.Values.images .image -}}
{{- $digest := required (printf "images.%s.digest is needed: sha256:… of the image to run" .image) $image.digest -}}
{{- with .root.Values.images.registry }}{{ . }}/{{ end }}{{ $image.repository }}@{{ $digest }}
{{- end -}}

{{- /* What the operator does in the namespaces that it looks after. */ -}}
{{- define "mandate.rules" -}}
- apiGroups: [mandate.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [mandate.dev]
  resources: [modelevaluations, autonomygrants]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [mandate.dev]
  resources: [modeldeployments/status, modelevaluations/status]
  verbs: [get, update, patch]
# Owner references that block deletion ask for this where the admission plugin OwnerReferencesPermissionEnforcement is on.
- apiGroups: [mandate.dev]
  resources: [modeldeployments/finalizers, modelevaluations/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}
