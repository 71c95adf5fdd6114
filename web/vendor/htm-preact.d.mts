// The bundle ships no types; these are Preact's own, as far as the bundle exports them.
import type { VNode } from 'preact'
export { h, render, Component, createContext } from 'preact'
export {
  useState, useReducer, useEffect, useLayoutEffect, useRef, useImperativeHandle, useMemo,
  useCallback, useContext, useDebugValue, useErrorBoundary
} from 'preact/hooks'
export declare function html(strings: TemplateStringsArray, ...values: any[]): VNode<any>
