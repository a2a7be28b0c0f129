// The beginning of the dashboard in a browser.

import { render } from 'preact';
import { Application } from './application.tsx';
import './look/tokens.css';
import './look/base.css';
import './look/panel.css';
import './look/frame.css';

const place = document.getElementById('application');
if (place !== null) {
  place.textContent = '';
  render(<Application />, place);
}
